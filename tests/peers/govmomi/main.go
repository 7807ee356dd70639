// An independent client's look at the lab: govmomi logs in, lists, finds, reads, snapshots, makes and deletes a VM.
//
//	apt-get install golang-go golang-github-vmware-govmomi-dev
//	GO111MODULE=off GOPATH=/usr/share/gocode go run tests/peers/govmomi/main.go URL USER PASSWORD
//
// URL, user and password are those that `vmlab serve` prints. Exits 0 after "OK".
package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// must ends the run with what failed.
func must(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "FAILED %s: %v\n", what, err)
		os.Exit(1)
	}
}

func done(ctx context.Context, what string, task *object.Task, err error) *types.TaskInfo {
	must(what, err)
	info, err := task.WaitForResult(ctx, nil)
	must(what, err)
	return info
}

func connect(ctx context.Context) *govmomi.Client {
	address, err := url.Parse(os.Args[1])
	must("address", err)
	address.User = url.UserPassword("nobody", "wrong")
	if _, err = govmomi.NewClient(ctx, address, true); err == nil {
		must("wrong password", fmt.Errorf("was let in"))
	}
	address.User = url.UserPassword(os.Args[2], os.Args[3])
	client, err := govmomi.NewClient(ctx, address, true)
	must("login", err)
	return client
}

// look does what govc's ls, find, vm.info and device.ls do.
func look(ctx context.Context, client *govmomi.Client, finder *find.Finder) {
	for _, path := range []string{"/*", "/*/*", "/Lab/vm/*", "/Lab/host/*/*", "/Lab/datastore/*", "/Lab/network/*"} {
		found, err := finder.ManagedObjectListChildren(ctx, path)
		must("ls "+path, err)
		for _, element := range found {
			fmt.Println(element.Path)
		}
	}
	views := view.NewManager(client.Client)
	vms, err := views.CreateContainerView(ctx, client.ServiceContent.RootFolder, []string{"VirtualMachine"}, true)
	must("view", err)
	refs, err := vms.Find(ctx, []string{"VirtualMachine"}, property.Filter{"name": "*"})
	must("find", err)
	var infos []mo.VirtualMachine
	must("vm.info", vms.Retrieve(ctx, []string{"VirtualMachine"}, []string{"name", "summary"}, &infos))
	if len(infos) != len(refs) {
		must("vm.info", fmt.Errorf("%d of %d", len(infos), len(refs)))
	}
	for _, vm := range infos {
		fmt.Println(vm.Name, vm.Summary.Runtime.PowerState, vm.Summary.Config.Uuid, vm.Summary.Storage.Committed)
	}
	var whole mo.VirtualMachine
	must("all properties", property.DefaultCollector(client.Client).RetrieveOne(ctx, refs[0], nil, &whole))
	devices, err := object.NewVirtualMachine(client.Client, refs[0]).Device(ctx)
	must("device.ls", err)
	for _, device := range devices {
		fmt.Println(devices.Name(device), devices.TypeName(device))
	}
}

func snapshot(ctx context.Context, finder *find.Finder) {
	vm, err := finder.VirtualMachine(ctx, "Production/app01")
	must("vm", err)
	task, err := vm.CreateSnapshot(ctx, "peer", "", false, false)
	done(ctx, "snapshot.create", task, err)
	var state mo.VirtualMachine
	must("snapshot.tree", vm.Properties(ctx, vm.Reference(), []string{"snapshot"}, &state))
	fmt.Println(state.Snapshot.RootSnapshotList[0].Name, state.Snapshot.RootSnapshotList[0].CreateTime)
	task, err = vm.RemoveAllSnapshot(ctx, nil)
	done(ctx, "snapshot.remove", task, err)
}

func create(ctx context.Context, client *govmomi.Client, finder *find.Finder) {
	pool, err := finder.ResourcePool(ctx, "Cluster1/Resources")
	must("pool", err)
	folder, err := finder.Folder(ctx, "/Lab/vm/Test")
	must("folder", err)
	datastore, err := finder.Datastore(ctx, "datastore2")
	must("datastore", err)
	var devices object.VirtualDeviceList
	scsi, err := devices.CreateSCSIController("pvscsi")
	must("controller", err)
	devices = append(devices, scsi)
	controller, err := devices.FindDiskController(devices.Name(scsi))
	must("controller", err)
	disk := devices.CreateDisk(controller, datastore.Reference(), "")
	disk.CapacityInKB = 8192
	devices = append(devices, disk)
	spec := types.VirtualMachineConfigSpec{Name: "peer", GuestId: "otherGuest64", NumCPUs: 1, MemoryMB: 64}
	spec.Files = &types.VirtualMachineFileInfo{VmPathName: "[datastore2]"}
	spec.DeviceChange, err = devices.ConfigSpec(types.VirtualDeviceConfigSpecOperationAdd)
	must("spec", err)
	task, err := folder.CreateVM(ctx, spec, pool, nil)
	info := done(ctx, "vm.create", task, err)
	vm := object.NewVirtualMachine(client.Client, info.Result.(types.ManagedObjectReference))
	task, err = vm.PowerOn(ctx)
	done(ctx, "vm.power -on", task, err)
	task, err = vm.PowerOff(ctx)
	done(ctx, "vm.power -off", task, err)
	must("upload", datastore.Upload(ctx, strings.NewReader("hello"), "peer/note.txt", nil))
	_, size, err := datastore.Download(ctx, "peer/note.txt", nil)
	must("download", err)
	fmt.Println("bytes back:", size)
	browser, err := datastore.Browser(ctx)
	must("browser", err)
	task, err = browser.SearchDatastore(ctx, "[datastore2] peer", &types.HostDatastoreBrowserSearchSpec{MatchPattern: []string{"*"}})
	info = done(ctx, "datastore.ls", task, err)
	for _, file := range info.Result.(types.HostDatastoreBrowserSearchResults).File {
		fmt.Println(file.GetFileInfo().Path)
	}
	task, err = datastore.NewFileManager(nil, false).FileManager.DeleteDatastoreFile(ctx, "[datastore2] peer/note.txt", nil)
	done(ctx, "datastore.rm", task, err)
	task, err = vm.Destroy(ctx)
	done(ctx, "vm.destroy", task, err)
}

func main() {
	ctx := context.Background()
	client := connect(ctx)
	finder := find.NewFinder(client.Client, true)
	center, err := finder.DefaultDatacenter(ctx)
	must("datacenter", err)
	finder.SetDatacenter(center)
	look(ctx, client, finder)
	snapshot(ctx, finder)
	create(ctx, client, finder)
	must("logout", client.Logout(ctx))
	fmt.Println("OK")
}

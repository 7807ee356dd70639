// A vCenter or ESXi host as govmomi simulates it, on loopback: an independent server for our client to talk to.
//
// Prints one line of JSON when it can be reached, and ends when its standard input is closed, so that it never
// outlives the test that started it.
package main

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/ioutil"
	"log"
	"net/url"
	"os"
	"sort"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

type machine struct {
	Moref        string `json:"moref"`
	Name         string `json:"name"`
	InstanceUUID string `json:"instance_uuid"`
	BiosUUID     string `json:"bios_uuid"`
}

type address struct {
	Host     string    `json:"host"`
	Port     string    `json:"port"`
	User     string    `json:"user"`
	Password string    `json:"password"`
	SHA1     string    `json:"sha1"`
	SHA256   string    `json:"sha256"`
	Guest    string    `json:"guest"`
	GuestIP  string    `json:"guest_ip"`
	Machines []machine `json:"machines"`
}

func main() {
	kind := flag.String("kind", "vpx", "vpx or esx")
	datacenters := flag.Int("dc", 1, "datacenters, of a vpx")
	vapps := flag.Int("app", 0, "vApps in each cluster of a vpx, each with VMs of its own")
	flag.Parse()

	model := simulator.VPX()
	model.Datacenter = *datacenters
	model.OpaqueNetwork = 1
	model.App = *vapps
	if *kind == "esx" {
		model = simulator.ESX()
	}
	defer model.Remove()
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	model.Service.TLS = new(tls.Config)
	model.Service.RegisterEndpoints = true // the Automation API's, which has the tags
	known := address{User: "administrator@vsphere.local", Password: "peer's p&ss<word>", GuestIP: "192.0.2.17"}
	model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(known.User, known.Password)}
	server := model.Service.NewServer()
	defer server.Close()

	known.Host, known.Port = server.URL.Hostname(), server.URL.Port()
	known.SHA1 = colons(sha1.Sum(server.Certificate().Raw))
	known.SHA256 = fmt.Sprintf("%X", sha256.Sum256(server.Certificate().Raw))
	for _, entity := range simulator.Map.All("VirtualMachine") {
		vm := simulator.Map.Get(entity.Reference()).(*simulator.VirtualMachine)
		known.Machines = append(known.Machines, machine{
			Moref: vm.Self.Value, Name: vm.Name, InstanceUUID: vm.Config.InstanceUuid, BiosUUID: vm.Config.Uuid,
		})
	}
	sort.Slice(known.Machines, func(i, j int) bool { return known.Machines[i].Name < known.Machines[j].Name })
	known.Guest = known.Machines[0].Name
	giveGuest(known.Machines[0].Moref, known.GuestIP)
	fillVApps()
	if err := makeFiles(known.Machines); err != nil {
		log.Fatal(err)
	}

	if err := json.NewEncoder(os.Stdout).Encode(known); err != nil {
		log.Fatal(err)
	}
	_, _ = io.Copy(ioutil.Discard, os.Stdin)
}

// fillVApps takes the VMs of vApps out of their folders, as a vCenter does and the simulator does not.
func fillVApps() {
	for _, entity := range simulator.Map.All("VirtualApp") {
		app := simulator.Map.Get(entity.Reference()).(*simulator.VirtualApp)
		for _, ref := range app.Vm {
			vm := simulator.Map.Get(ref).(*simulator.VirtualMachine)
			folder := simulator.Map.Get(*vm.Parent).(*simulator.Folder)
			simulator.RemoveReference(&folder.ChildEntity, ref)
			vm.Parent, vm.ParentVApp = nil, &app.Self
		}
	}
}

// giveGuest lets a VM look as if its guest ran VMware Tools.
func giveGuest(moref string, ip string) {
	vm := simulator.Map.Get(types.ManagedObjectReference{Type: "VirtualMachine", Value: moref})
	simulator.Map.Update(vm.(mo.Reference), []types.PropertyChange{
		{Name: "guest.ipAddress", Val: ip},
		{Name: "guest.hostName", Val: "guest.peer.test"},
		{Name: "summary.guest.ipAddress", Val: ip},
	})
}

// makeFiles gives every VM a .vmx with content: the simulator's own is empty.
func makeFiles(machines []machine) error {
	for _, known := range machines {
		ref := types.ManagedObjectReference{Type: "VirtualMachine", Value: known.Moref}
		vm := simulator.Map.Get(ref).(*simulator.VirtualMachine)
		path := new(object.DatastorePath)
		path.FromString(vm.Config.Files.VmPathName)
		store := simulator.Map.Get(vm.Datastore[0]).(*simulator.Datastore)
		text := []byte("displayName = \"" + known.Name + "\"\n")
		if err := ioutil.WriteFile(store.Info.GetDatastoreInfo().Url+"/"+path.Path, text, 0600); err != nil {
			return err
		}
	}
	return nil
}

func colons(digest [sha1.Size]byte) string {
	pairs := make([]string, len(digest))
	for at, octet := range digest {
		pairs[at] = fmt.Sprintf("%02X", octet)
	}
	return strings.Join(pairs, ":")
}

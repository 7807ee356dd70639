package main

import (
	"fmt"
	"strconv"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// machine finds the VM that the first argument names: a name, a path or a pattern.
func (c *call) machine() (*object.VirtualMachine, error) {
	finder, err := c.finder()
	if err != nil {
		return nil, err
	}
	return finder.VirtualMachine(c, c.arg(0))
}

// wait ends with the task, and returns what it gives.
func (c *call) wait(task *object.Task, err error) (types.AnyType, error) {
	if err != nil {
		return nil, err
	}
	info, err := task.WaitForResult(c, nil)
	if err != nil {
		return nil, err
	}
	return info.Result, nil
}

// vmInfo PATTERN: what govc asks for, of all VMs that fit.
func vmInfo(c *call) (interface{}, error) {
	finder, err := c.finder()
	if err != nil {
		return nil, err
	}
	machines, err := finder.VirtualMachineList(c, c.arg(0))
	if err != nil {
		return nil, err
	}
	refs := make([]types.ManagedObjectReference, 0, len(machines))
	for _, vm := range machines {
		refs = append(refs, vm.Reference())
	}
	var found []mo.VirtualMachine
	wanted := []string{"name", "parent", "summary", "guest", "datastore", "network", "resourcePool", "config", "runtime", "layoutEx"}
	err = c.client.Retrieve(c, refs, wanted, &found)
	return found, err
}

func vmPower(c *call) (interface{}, error) {
	vm, err := c.machine()
	if err != nil {
		return nil, err
	}
	switch c.arg(1) {
	case "on":
		return c.wait(vm.PowerOn(c))
	case "off":
		return c.wait(vm.PowerOff(c))
	case "suspend":
		return c.wait(vm.Suspend(c))
	case "reset":
		return c.wait(vm.Reset(c))
	case "shutdown":
		return nil, vm.ShutdownGuest(c)
	}
	return nil, fmt.Errorf("no power operation %q", c.arg(1))
}

// vmWait VM STATE: until it is there.
func vmWait(c *call) (interface{}, error) {
	vm, err := c.machine()
	if err != nil {
		return nil, err
	}
	err = vm.WaitForPowerState(c, types.VirtualMachinePowerState(c.arg(1)))
	return c.arg(1), err
}

func vmIP(c *call) (interface{}, error) {
	vm, err := c.machine()
	if err != nil {
		return nil, err
	}
	return vm.WaitForIP(c)
}

// vmCreate NAME DATASTORE MIB: a VM with a paravirtual SCSI controller, a disk and a network card, with negative keys.
func vmCreate(c *call) (interface{}, error) {
	size, err := strconv.ParseInt(c.arg(2), 10, 64)
	if err != nil {
		return nil, err
	}
	finder, err := c.finder()
	if err != nil {
		return nil, err
	}
	folder, err := finder.DefaultFolder(c)
	if err != nil {
		return nil, err
	}
	hosts, err := finder.HostSystemList(c, "*")
	if err != nil {
		return nil, err
	}
	pool, err := hosts[0].ResourcePool(c)
	if err != nil {
		return nil, err
	}
	store, err := finder.Datastore(c, c.arg(1))
	if err != nil {
		return nil, err
	}
	networks, err := finder.NetworkList(c, "*")
	if err != nil {
		return nil, err
	}
	var devices object.VirtualDeviceList
	scsi, err := devices.CreateSCSIController("pvscsi")
	if err != nil {
		return nil, err
	}
	devices = append(devices, scsi)
	disk := devices.CreateDisk(scsi.(types.BaseVirtualController), store.Reference(), "")
	disk.CapacityInKB = size << 10
	devices = append(devices, disk)
	backing, err := networks[0].EthernetCardBackingInfo(c)
	if err != nil {
		return nil, err
	}
	card, err := devices.CreateEthernetCard("vmxnet3", backing)
	if err != nil {
		return nil, err
	}
	devices = append(devices, card)
	changes, err := devices.ConfigSpec(types.VirtualDeviceConfigSpecOperationAdd)
	if err != nil {
		return nil, err
	}
	spec := types.VirtualMachineConfigSpec{
		Name: c.arg(0), GuestId: "otherLinux64Guest", NumCPUs: 2, MemoryMB: 256, Annotation: "made by a peer & <kept>",
		Files:        &types.VirtualMachineFileInfo{VmPathName: fmt.Sprintf("[%s]", store.Name())},
		DeviceChange: changes,
	}
	return c.wait(folder.CreateVM(c, spec, pool, hosts[0]))
}

// vmChange VM ANNOTATION CPUS TRACKING: a reconfiguration without devices.
func vmChange(c *call) (interface{}, error) {
	vm, err := c.machine()
	if err != nil {
		return nil, err
	}
	cpus, err := strconv.ParseInt(c.arg(2), 10, 32)
	if err != nil {
		return nil, err
	}
	return c.wait(vm.Reconfigure(c, types.VirtualMachineConfigSpec{
		Annotation: c.arg(1), NumCPUs: int32(cpus), ChangeTrackingEnabled: types.NewBool(c.arg(3) == "true"),
		ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "peer.setting", Value: "1 < 2"}},
	}))
}

func vmDestroy(c *call) (interface{}, error) {
	vm, err := c.machine()
	if err != nil {
		return nil, err
	}
	return c.wait(vm.Destroy(c))
}

func vmUnregister(c *call) (interface{}, error) {
	vm, err := c.machine()
	if err != nil {
		return nil, err
	}
	return nil, vm.Unregister(c)
}

// vmRegister NAME PATH: a .vmx that lies on a datastore.
func vmRegister(c *call) (interface{}, error) {
	finder, err := c.finder()
	if err != nil {
		return nil, err
	}
	folder, err := finder.DefaultFolder(c)
	if err != nil {
		return nil, err
	}
	hosts, err := finder.HostSystemList(c, "*")
	if err != nil {
		return nil, err
	}
	pool, err := hosts[0].ResourcePool(c)
	if err != nil {
		return nil, err
	}
	return c.wait(folder.RegisterVM(c, c.arg(1), c.arg(0), false, pool, hosts[0]))
}

type device struct {
	Name     string      `json:"name"`
	Type     string      `json:"type"`
	Key      int32       `json:"key"`
	Label    string      `json:"label"`
	Summary  string      `json:"summary"`
	Backing  string      `json:"backing"`
	Capacity int64       `json:"capacity"`
	Device   interface{} `json:"device"`
}

func describe(devices object.VirtualDeviceList) []device {
	found := []device{}
	for _, item := range devices {
		base := item.GetVirtualDevice()
		seen := device{
			Name: devices.Name(item), Type: devices.TypeName(item), Key: base.Key, Backing: typeName(base.Backing), Device: item,
		}
		if base.DeviceInfo != nil {
			seen.Label, seen.Summary = base.DeviceInfo.GetDescription().Label, base.DeviceInfo.GetDescription().Summary
		}
		if disk, is := item.(*types.VirtualDisk); is {
			seen.Capacity = disk.CapacityInBytes
		}
		found = append(found, seen)
	}
	return found
}

func deviceList(c *call) (interface{}, error) {
	vm, err := c.machine()
	if err != nil {
		return nil, err
	}
	devices, err := vm.Device(c)
	return describe(devices), err
}

// vmDiskCreate VM DATASTORE MIB: one more disk on the first controller that has room.
func vmDiskCreate(c *call) (interface{}, error) {
	size, err := strconv.ParseInt(c.arg(2), 10, 64)
	if err != nil {
		return nil, err
	}
	vm, err := c.machine()
	if err != nil {
		return nil, err
	}
	finder, err := c.finder()
	if err != nil {
		return nil, err
	}
	store, err := finder.Datastore(c, c.arg(1))
	if err != nil {
		return nil, err
	}
	devices, err := vm.Device(c)
	if err != nil {
		return nil, err
	}
	controller, err := devices.FindDiskController("")
	if err != nil {
		return nil, err
	}
	disk := devices.CreateDisk(controller, store.Reference(), "")
	disk.CapacityInKB = size << 10
	if err = vm.AddDevice(c, disk); err != nil {
		return nil, err
	}
	return deviceList(c)
}

// vmDiskRemove VM KEY: a disk and its files.
func vmDiskRemove(c *call) (interface{}, error) {
	key, err := strconv.ParseInt(c.arg(1), 10, 32)
	if err != nil {
		return nil, err
	}
	vm, err := c.machine()
	if err != nil {
		return nil, err
	}
	devices, err := vm.Device(c)
	if err != nil {
		return nil, err
	}
	if err = vm.RemoveDevice(c, false, devices.FindByKey(int32(key))); err != nil {
		return nil, err
	}
	return deviceList(c)
}

package main

import (
	"fmt"
	"strconv"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// snapshotTree VM: the tree, and the devices as each snapshot holds them.
func snapshotTree(c *call) (interface{}, error) {
	vm, err := c.machine()
	if err != nil {
		return nil, err
	}
	var found mo.VirtualMachine
	if err = vm.Properties(c, vm.Reference(), []string{"snapshot", "rootSnapshot", "layoutEx"}, &found); err != nil {
		return nil, err
	}
	if found.Snapshot == nil {
		return map[string]interface{}{"tree": nil}, nil
	}
	held := map[string]interface{}{}
	waiting := found.Snapshot.RootSnapshotList
	for len(waiting) != 0 {
		at := waiting[0]
		waiting = append(waiting[1:], at.ChildSnapshotList...)
		var snapshot mo.VirtualMachineSnapshot
		if err = c.client.RetrieveOne(c, at.Snapshot, []string{"config", "vm", "childSnapshot"}, &snapshot); err != nil {
			return nil, err
		}
		held[at.Name] = describe(object.VirtualDeviceList(snapshot.Config.Hardware.Device))
	}
	return map[string]interface{}{
		"tree": found.Snapshot.RootSnapshotList, "current": found.Snapshot.CurrentSnapshot, "roots": found.RootSnapshot,
		"held": held,
	}, nil
}

// snapshotCreate VM NAME DESCRIPTION QUIESCE.
func snapshotCreate(c *call) (interface{}, error) {
	vm, err := c.machine()
	if err != nil {
		return nil, err
	}
	return c.wait(vm.CreateSnapshot(c, c.arg(1), c.arg(2), false, c.arg(3) == "true"))
}

// snapshotRemove VM NAME|ID|*: one, by name, path or id; or all.
func snapshotRemove(c *call) (interface{}, error) {
	vm, err := c.machine()
	if err != nil {
		return nil, err
	}
	if c.arg(1) == "*" {
		return c.wait(vm.RemoveAllSnapshot(c, types.NewBool(true)))
	}
	return c.wait(vm.RemoveSnapshot(c, c.arg(1), false, types.NewBool(true)))
}

func snapshotRevert(c *call) (interface{}, error) {
	vm, err := c.machine()
	if err != nil {
		return nil, err
	}
	if c.arg(1) == "" {
		return c.wait(vm.RevertToCurrentSnapshot(c, true))
	}
	return c.wait(vm.RevertToSnapshot(c, c.arg(1), true))
}

// diskChanges VM SNAPSHOT KEY CHANGEID: what changed, asked for from one answer's end to the next.
func diskChanges(c *call) (interface{}, error) {
	vm, err := c.machine()
	if err != nil {
		return nil, err
	}
	key, err := strconv.ParseInt(c.arg(2), 10, 32)
	if err != nil {
		return nil, err
	}
	snapshot, err := vm.FindSnapshot(c, c.arg(1))
	if err != nil {
		return nil, err
	}
	var held mo.VirtualMachineSnapshot
	if err = c.client.RetrieveOne(c, *snapshot, []string{"config"}, &held); err != nil {
		return nil, err
	}
	disk, is := object.VirtualDeviceList(held.Config.Hardware.Device).FindByKey(int32(key)).(*types.VirtualDisk)
	if !is {
		return nil, fmt.Errorf("no disk %d", key)
	}
	areas := [][2]int64{}
	for at := int64(0); at < disk.CapacityInBytes; {
		answer, err := methods.QueryChangedDiskAreas(c, c.client, &types.QueryChangedDiskAreas{
			This: vm.Reference(), Snapshot: snapshot, DeviceKey: int32(key), StartOffset: at, ChangeId: c.arg(3),
		})
		if err != nil {
			return nil, err
		}
		if answer.Returnval.Length <= 0 {
			return nil, fmt.Errorf("no progress at %d", at)
		}
		for _, area := range answer.Returnval.ChangedArea {
			areas = append(areas, [2]int64{area.Start, area.Length})
		}
		at = answer.Returnval.StartOffset + answer.Returnval.Length
	}
	return areas, nil
}

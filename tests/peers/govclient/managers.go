package main

import (
	"github.com/vmware/govmomi/event"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/guest"
	"github.com/vmware/govmomi/license"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/ovf"
	"github.com/vmware/govmomi/performance"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vslm"
)

// clusterInfo NAME: DRS, HA and rules, from its ClusterConfigInfoEx.
func clusterInfo(c *call) (interface{}, error) {
	finder, err := c.finder()
	if err != nil {
		return nil, err
	}
	cluster, err := finder.ClusterComputeResource(c, c.arg(0))
	if err != nil {
		return nil, err
	}
	config, err := cluster.Configuration(c)
	if err != nil {
		return nil, err
	}
	return map[string]interface{}{
		"drs": config.DrsConfig.Enabled, "das": config.DasConfig.Enabled, "rules": len(config.Rule),
		"dpm": config.DpmConfigInfo.Enabled,
	}, nil
}

func (c *call) host() (*object.HostSystem, error) {
	finder, err := c.finder()
	if err != nil {
		return nil, err
	}
	return finder.HostSystem(c, c.arg(0))
}

// hostInfo NAME: summary, hardware and configuration, as they are.
func hostInfo(c *call) (interface{}, error) {
	host, err := c.host()
	if err != nil {
		return nil, err
	}
	var found mo.HostSystem
	err = host.Properties(c, host.Reference(), []string{"summary", "hardware", "config", "capability"}, &found)
	return map[string]interface{}{
		"summary": found.Summary, "hardware": found.Hardware, "config": found.Config, "capability": found.Capability,
	}, err
}

// hostParts NAME: what each of a host's own managers tells.
func hostParts(c *call) (interface{}, error) {
	host, err := c.host()
	if err != nil {
		return nil, err
	}
	told := map[string]interface{}{}
	for name, ask := range map[string]func(*object.HostConfigManager) (interface{}, error){
		"services": func(m *object.HostConfigManager) (interface{}, error) {
			system, err := m.ServiceSystem(c)
			if err != nil {
				return nil, err
			}
			return system.Service(c)
		},
		"firewall": func(m *object.HostConfigManager) (interface{}, error) {
			system, err := m.FirewallSystem(c)
			if err != nil {
				return nil, err
			}
			return system.Info(c)
		},
		"adapters": func(m *object.HostConfigManager) (interface{}, error) {
			manager, err := m.VirtualNicManager(c)
			if err != nil {
				return nil, err
			}
			return manager.Info(c)
		},
		"clock": func(m *object.HostConfigManager) (interface{}, error) {
			system, err := m.DateTimeSystem(c)
			if err != nil {
				return nil, err
			}
			return system.Query(c)
		},
		"options": func(m *object.HostConfigManager) (interface{}, error) {
			manager, err := m.OptionManager(c)
			if err != nil {
				return nil, err
			}
			return manager.Query(c, "UserVars.")
		},
		"network": func(m *object.HostConfigManager) (interface{}, error) {
			system, err := m.NetworkSystem(c)
			if err != nil {
				return nil, err
			}
			var found mo.HostNetworkSystem
			err = system.Properties(c, system.Reference(), []string{"networkInfo"}, &found)
			return found.NetworkInfo, err
		},
		"storage": func(m *object.HostConfigManager) (interface{}, error) {
			system, err := m.StorageSystem(c)
			if err != nil {
				return nil, err
			}
			var found mo.HostStorageSystem
			err = system.Properties(c, system.Reference(), []string{"storageDeviceInfo", "fileSystemVolumeInfo"}, &found)
			return map[string]interface{}{"devices": found.StorageDeviceInfo, "volumes": found.FileSystemVolumeInfo}, err
		},
		"authorities": func(m *object.HostConfigManager) (interface{}, error) {
			manager, err := m.CertificateManager(c)
			if err != nil {
				return nil, err
			}
			return manager.ListCACertificates(c)
		},
	} {
		if told[name], err = ask(host.ConfigManager()); err != nil {
			return nil, err
		}
	}
	return told, nil
}

// refused PART VM: one of the things that a vCenter may not do.
func refused(c *call) (interface{}, error) {
	vm, err := (&call{Context: c.Context, client: c.client, args: c.args[1:]}).machine()
	if err != nil {
		return nil, err
	}
	folder := object.NewFolder(c.client.Client, c.client.ServiceContent.RootFolder)
	switch c.arg(0) {
	case "export":
		return vm.Export(c)
	case "descriptor":
		return ovf.NewManager(c.client.Client).CreateDescriptor(c, vm, types.OvfCreateDescriptorParams{})
	case "upgrade":
		return c.wait(vm.UpgradeVM(c, "vmx-21"))
	case "clone":
		return c.wait(vm.Clone(c, folder, "copy", types.VirtualMachineCloneSpec{}))
	case "instantclone":
		return c.wait(vm.InstantClone(c, types.VirtualMachineInstantCloneSpec{Name: "copy"}))
	case "customize":
		return c.wait(vm.Customize(c, types.CustomizationSpec{
			Identity: &types.CustomizationIdentitySettings{}, GlobalIPSettings: types.CustomizationGlobalIPSettings{},
		}))
	case "tools":
		return c.wait(vm.UpgradeTools(c, ""))
	case "ticket":
		return vm.AcquireTicket(c, "webmks")
	case "logs":
		return object.NewDiagnosticManager(c.client.Client).BrowseLog(c, nil, "vpxd", 1, 1)
	case "extension":
		return nil, object.NewExtensionManager(c.client.Client).Unregister(c, "com.vmware.vim.sms")
	case "licence":
		return license.NewManager(c.client.Client).Add(c, "00000-00000-00000-00000-00001", nil)
	case "storage":
		return object.NewStorageResourceManager(c.client.Client).RecommendDatastores(c, types.StoragePlacementSpec{Type: "create"})
	}
	return guestOperation(c, vm)
}

// guestOperation KIND VM: something asked of the guest itself.
func guestOperation(c *call, vm *object.VirtualMachine) (interface{}, error) {
	operations := guest.NewOperationsManager(c.client.Client, vm.Reference())
	who := &types.NamePasswordAuthentication{Username: "root", Password: "x"}
	switch c.arg(0) {
	case "guest.auth":
		manager, err := operations.AuthManager(c)
		if err != nil {
			return nil, err
		}
		return nil, manager.ValidateCredentials(c, who)
	case "guest.ls":
		manager, err := operations.FileManager(c)
		if err != nil {
			return nil, err
		}
		return manager.ListFiles(c, who, "/", 0, 10, "")
	}
	manager, err := operations.ProcessManager(c)
	if err != nil {
		return nil, err
	}
	return manager.ListProcesses(c, who, nil)
}

// licences: those there are, and to whom they are given.
func licences(c *call) (interface{}, error) {
	manager := license.NewManager(c.client.Client)
	list, err := manager.List(c)
	if err != nil {
		return nil, err
	}
	assignments, err := manager.AssignmentManager(c)
	if err != nil {
		return nil, err
	}
	assigned, err := assignments.QueryAssigned(c, "")
	return map[string]interface{}{"licences": list, "assigned": assigned}, err
}

// extensions KEY: all of them, and one.
func extensions(c *call) (interface{}, error) {
	manager, err := object.GetExtensionManager(c.client.Client)
	if err != nil {
		return nil, err
	}
	list, err := manager.List(c)
	if err != nil {
		return nil, err
	}
	one, err := manager.Find(c, c.arg(0))
	return map[string]interface{}{"extensions": list, "one": one}, err
}

// eventPages: the types of all events, read page by page from the oldest on, then the latest page.
func eventPages(c *call) (interface{}, error) {
	collector, err := event.NewManager(c.client.Client).CreateCollectorForEvents(c, types.EventFilterSpec{})
	if err != nil {
		return nil, err
	}
	defer collector.Destroy(c)
	pages, keys := 0, []int32{}
	for {
		page, err := collector.ReadNextEvents(c, 2)
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			break
		}
		pages++
		for _, one := range page {
			keys = append(keys, one.GetEvent().Key)
		}
	}
	latest, err := collector.LatestPage(c)
	return map[string]interface{}{"pages": pages, "keys": keys, "latest": len(latest)}, err
}

// empties DATASTORE VM: the lists that have nothing in them, each with how much it has.
func empties(c *call) (interface{}, error) {
	store, err := c.datastore()
	if err != nil {
		return nil, err
	}
	vm, err := (&call{Context: c.Context, client: c.client, args: c.args[1:]}).machine()
	if err != nil {
		return nil, err
	}
	disks, err := vslm.NewObjectManager(c.client.Client).List(c, store)
	if err != nil {
		return nil, err
	}
	statistics := performance.NewManager(c.client.Client)
	counters, err := statistics.CounterInfo(c)
	if err != nil {
		return nil, err
	}
	provider, err := statistics.ProviderSummary(c, vm.Reference())
	if err != nil {
		return nil, err
	}
	logs, err := object.NewDiagnosticManager(c.client.Client).QueryDescriptions(c, nil)
	if err != nil {
		return nil, err
	}
	alarms, err := methods.GetAlarmState(c, c.client, &types.GetAlarmState{
		This: *c.client.ServiceContent.AlarmManager, Entity: vm.Reference(),
	})
	if err != nil {
		return nil, err
	}
	return map[string]interface{}{
		"disks": len(disks), "counters": len(counters), "logs": len(logs), "alarms": len(alarms.Returnval),
		"refresh": provider.RefreshRate,
	}, nil
}

// search KIND VALUE: a VM by the search index.
func search(c *call) (interface{}, error) {
	index := object.NewSearchIndex(c.client.Client)
	finder, err := c.finder()
	if err != nil {
		return nil, err
	}
	center, err := finder.DefaultDatacenter(c)
	if err != nil {
		return nil, err
	}
	var found object.Reference
	switch c.arg(0) {
	case "ip":
		found, err = index.FindByIp(c, center, c.arg(1), true)
	case "dns":
		found, err = index.FindByDnsName(c, center, c.arg(1), true)
	case "uuid":
		found, err = index.FindByUuid(c, center, c.arg(1), true, types.NewBool(false))
	case "file":
		found, err = index.FindByDatastorePath(c, center, c.arg(1))
	default:
		found, err = index.FindByInventoryPath(c, c.arg(1))
	}
	if err != nil || found == nil {
		return nil, err
	}
	return found.Reference().Value, nil
}

// vapps PATTERN: the vApps of the inventory with the names of their VMs.
func vapps(c *call) (interface{}, error) {
	finder, err := c.finder()
	if err != nil {
		return nil, err
	}
	list, err := finder.VirtualAppList(c, c.arg(0))
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, app := range list {
		names = append(names, app.Name())
	}
	return names, nil
}

// vappCreate NAME VM: a vApp in the default pool, with a VM moved into it; answers the VM's path in the inventory.
func vappCreate(c *call) (interface{}, error) {
	finder, err := c.finder()
	if err != nil {
		return nil, err
	}
	pool, err := finder.ResourcePool(c, "*/Resources")
	if err != nil {
		return nil, err
	}
	folder, err := finder.DefaultFolder(c)
	if err != nil {
		return nil, err
	}
	vm, err := finder.VirtualMachine(c, c.arg(1))
	if err != nil {
		return nil, err
	}
	ref := folder.Reference()
	made, err := methods.CreateVApp(c, c.client, &types.CreateVApp{
		This: pool.Reference(), Name: c.arg(0), ResSpec: types.DefaultResourceConfigSpec(), VmFolder: &ref,
	})
	if err != nil {
		return nil, err
	}
	_, err = methods.MoveIntoResourcePool(c, c.client, &types.MoveIntoResourcePool{
		This: made.Returnval, List: []types.ManagedObjectReference{vm.Reference()},
	})
	if err != nil {
		return nil, err
	}
	return find.InventoryPath(c, c.client.Client, vm.Reference())
}

// options NAME: the vCenter's settings.
func options(c *call) (interface{}, error) {
	manager := object.NewOptionManager(c.client.Client, *c.client.ServiceContent.Setting)
	found, err := manager.Query(c, c.arg(0))
	if err != nil {
		return nil, err
	}
	values := map[string]interface{}{}
	for _, option := range found {
		values[option.GetOptionValue().Key] = option.GetOptionValue().Value
	}
	return values, nil
}

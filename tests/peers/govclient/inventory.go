package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/vmware/govmomi/event"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

func about(c *call) (interface{}, error) {
	now, err := methods.GetCurrentTime(c, c.client)
	return map[string]interface{}{"about": c.client.ServiceContent.About, "now": now, "vc": c.client.IsVC()}, err
}

type listed struct {
	Path string `json:"path"`
	Ref  string `json:"ref"`
}

// ls PATH: the children of what the path, with wildcards, fits; by list.Lister's filters with nested selections.
func ls(c *call) (interface{}, error) {
	finder := find.NewFinder(c.client.Client, true)
	if !strings.HasPrefix(c.arg(0), "/") {
		center, err := finder.DefaultDatacenter(c)
		if err != nil {
			return nil, err
		}
		finder.SetDatacenter(center)
	}
	elements, err := finder.ManagedObjectListChildren(c, c.arg(0))
	found := []listed{}
	for _, element := range elements {
		found = append(found, listed{Path: element.Path, Ref: element.Object.Reference().String()})
	}
	return found, err
}

// find TYPE [PROPERTY VALUE]: every object of a type, by a container view, with its path by walking up.
func findAll(c *call) (interface{}, error) {
	container, err := view.NewManager(c.client.Client).CreateContainerView(
		c, c.client.ServiceContent.RootFolder, []string{c.arg(0)}, true)
	if err != nil {
		return nil, err
	}
	defer container.Destroy(c)
	var refs []types.ManagedObjectReference
	if c.arg(1) != "" {
		refs, err = container.Find(c, []string{c.arg(0)}, property.Filter{c.arg(1): c.arg(2)})
	} else {
		refs, err = container.Find(c, []string{c.arg(0)}, nil)
	}
	found := []listed{}
	for _, ref := range refs {
		path, pathError := find.InventoryPath(c, c.client.Client, ref)
		if pathError != nil {
			return nil, pathError
		}
		found = append(found, listed{Path: path, Ref: ref.String()})
	}
	return found, err
}

// collect TYPE:ID PATH…: properties by name, or all of them, through WaitForUpdatesEx.
func collect(c *call) (interface{}, error) {
	var ref types.ManagedObjectReference
	if !ref.FromString(c.arg(0)) {
		return nil, fmt.Errorf("not a reference: %s", c.arg(0))
	}
	found := map[string]interface{}{}
	err := property.Wait(c, c.client.PropertyCollector(), ref, c.args[1:], func(changes []types.PropertyChange) bool {
		for _, change := range changes {
			found[change.Name] = map[string]interface{}{"type": typeName(change.Val), "value": change.Val}
		}
		return true
	})
	return found, err
}

// tasks: recent ones, by a list view that the task view refills.
func tasks(c *call) (interface{}, error) {
	tasks, err := view.NewManager(c.client.Client).CreateTaskView(c, c.client.ServiceContent.TaskManager)
	if err != nil {
		return nil, err
	}
	defer tasks.Destroy(c)
	found := []map[string]interface{}{}
	err = tasks.Collect(c, func(infos []types.TaskInfo) {
		for _, info := range infos {
			found = append(found, map[string]interface{}{
				"what": info.DescriptionId, "entity": info.EntityName, "state": info.State,
			})
		}
	})
	return found, err
}

func events(c *call) (interface{}, error) {
	found := []string{}
	list, err := event.NewManager(c.client.Client).QueryEvents(c, types.EventFilterSpec{})
	for _, item := range list {
		found = append(found, typeName(item))
	}
	return found, err
}

func roles(c *call) (interface{}, error) {
	return object.NewAuthorizationManager(c.client.Client).RoleList(c)
}

// sessionIdle SECONDS: be silent, then make a call.
func sessionIdle(c *call) (interface{}, error) {
	seconds, err := strconv.ParseFloat(c.arg(0), 64)
	if err != nil {
		return nil, err
	}
	time.Sleep(time.Duration(seconds * float64(time.Second)))
	var root mo.Folder
	err = c.client.RetrieveOne(c, c.client.ServiceContent.RootFolder, []string{"name"}, &root)
	return root.Name, err
}

// sessionList: one's own session, as govc looks whether a kept one still lives.
func sessionList(c *call) (interface{}, error) {
	return c.client.SessionManager.UserSession(c)
}

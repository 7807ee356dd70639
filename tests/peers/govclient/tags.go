package main

import (
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vapi/tags"
)

// tagAttach CATEGORY TAG VM: makes category and tag where they are missing, and attaches the tag.
func tagAttach(c *call) (interface{}, error) {
	finder, err := c.finder()
	if err != nil {
		return nil, err
	}
	machine, err := finder.VirtualMachine(c, c.arg(2))
	if err != nil {
		return nil, err
	}
	client := rest.NewClient(c.client.Client)
	if err := client.Login(c, c.login); err != nil {
		return nil, err
	}
	defer client.Logout(c)
	manager := tags.NewManager(client)
	if _, err := manager.GetCategory(c, c.arg(0)); err != nil {
		made := &tags.Category{Name: c.arg(0), Cardinality: "MULTIPLE", AssociableTypes: []string{"VirtualMachine"}}
		if _, err := manager.CreateCategory(c, made); err != nil {
			return nil, err
		}
	}
	tag, err := manager.GetTagForCategory(c, c.arg(1), c.arg(0))
	if err != nil {
		id, err := manager.CreateTag(c, &tags.Tag{Name: c.arg(1), CategoryID: c.arg(0)})
		if err != nil {
			return nil, err
		}
		tag = &tags.Tag{ID: id}
	}
	return map[string]string{"tag": tag.ID}, manager.AttachTag(c, tag.ID, machine)
}

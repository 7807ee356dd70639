package main

import (
	"os"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// datastore finds the one that the first argument names.
func (c *call) datastore() (*object.Datastore, error) {
	finder, err := c.finder()
	if err != nil {
		return nil, err
	}
	return finder.Datastore(c, c.arg(0))
}

func datastoreInfo(c *call) (interface{}, error) {
	store, err := c.datastore()
	if err != nil {
		return nil, err
	}
	var found mo.Datastore
	if err = store.Properties(c, store.Reference(), []string{"name", "info", "summary", "host", "vm", "capability"}, &found); err != nil {
		return nil, err
	}
	hosts, err := store.AttachedHosts(c)
	names := []string{}
	for _, host := range hosts {
		names = append(names, host.Reference().Value)
	}
	return map[string]interface{}{"datastore": found, "info": typeName(found.Info), "hosts": names}, err
}

// datastoreList DATASTORE FOLDER PATTERN [RECURSIVE]: by the datastore's browser, with all file queries.
func datastoreList(c *call) (interface{}, error) {
	store, err := c.datastore()
	if err != nil {
		return nil, err
	}
	browser, err := store.Browser(c)
	if err != nil {
		return nil, err
	}
	spec := types.HostDatastoreBrowserSearchSpec{
		MatchPattern:     []string{c.arg(2)},
		SortFoldersFirst: types.NewBool(true),
		Details: &types.FileQueryFlags{
			FileType: true, FileSize: true, FileOwner: types.NewBool(true), Modification: true,
		},
		Query: []types.BaseFileQuery{
			new(types.VmDiskFileQuery), new(types.VmConfigFileQuery), new(types.FolderFileQuery), new(types.FileQuery),
		},
	}
	search := browser.SearchDatastore
	if c.arg(3) == "recursive" {
		search = browser.SearchDatastoreSubFolders
	}
	result, err := c.wait(search(c, store.Path(c.arg(1)), &spec))
	if err != nil {
		return nil, err
	}
	folders := map[string][]map[string]interface{}{}
	add := func(found types.HostDatastoreBrowserSearchResults) {
		files := []map[string]interface{}{}
		for _, file := range found.File {
			files = append(files, map[string]interface{}{
				"path": file.GetFileInfo().Path, "size": file.GetFileInfo().FileSize, "type": typeName(file),
			})
		}
		folders[found.FolderPath] = files
	}
	switch found := result.(type) {
	case types.HostDatastoreBrowserSearchResults:
		add(found)
	case types.ArrayOfHostDatastoreBrowserSearchResults:
		for _, folder := range found.HostDatastoreBrowserSearchResults {
			add(folder)
		}
	}
	return folders, nil
}

// datastoreUpload DATASTORE LOCAL REMOTE.
func datastoreUpload(c *call) (interface{}, error) {
	store, err := c.datastore()
	if err != nil {
		return nil, err
	}
	if err = store.UploadFile(c, c.arg(1), c.arg(2), nil); err != nil {
		return nil, err
	}
	info, err := store.Stat(c, c.arg(2))
	if err != nil {
		return nil, err
	}
	return info.GetFileInfo().FileSize, nil
}

// datastoreDownload DATASTORE REMOTE LOCAL.
func datastoreDownload(c *call) (interface{}, error) {
	store, err := c.datastore()
	if err != nil {
		return nil, err
	}
	if err = store.DownloadFile(c, c.arg(1), c.arg(2), nil); err != nil {
		return nil, err
	}
	info, err := os.Stat(c.arg(2))
	if err != nil {
		return nil, err
	}
	return info.Size(), nil
}

// datastoreMkdir DATASTORE FOLDER: with its parents.
func datastoreMkdir(c *call) (interface{}, error) {
	store, center, err := c.datastoreAndCenter()
	if err != nil {
		return nil, err
	}
	return nil, object.NewFileManager(c.client.Client).MakeDirectory(c, store.Path(c.arg(1)), center, true)
}

// datastoreRemove DATASTORE PATH: a file, or a folder with all it holds.
func datastoreRemove(c *call) (interface{}, error) {
	store, center, err := c.datastoreAndCenter()
	if err != nil {
		return nil, err
	}
	return nil, store.NewFileManager(center, true).Delete(c, c.arg(1))
}

func (c *call) datastoreAndCenter() (*object.Datastore, *object.Datacenter, error) {
	finder, err := c.finder()
	if err != nil {
		return nil, nil, err
	}
	center, err := finder.DefaultDatacenter(c)
	if err != nil {
		return nil, nil, err
	}
	store, err := finder.Datastore(c, c.arg(0))
	return store, center, err
}

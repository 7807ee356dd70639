// Imports of OVA files, as govc's import.ova goes about them.
package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/ioutil"
	"os"
	"path"

	"github.com/vmware/govmomi/nfc"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/ovf"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// ovaImport OVA NAME: make a VM, send its disks, and return what the descriptor said and what the VM has.
func ovaImport(c *call) (interface{}, error) {
	descriptor, err := firstOf(c.arg(0))
	if err != nil {
		return nil, err
	}
	envelope, err := ovf.Unmarshal(bytes.NewReader(descriptor))
	if err != nil {
		return nil, err
	}
	finder, err := c.finder()
	if err != nil {
		return nil, err
	}
	pools, err := finder.ResourcePoolList(c, "*/Resources")
	if err != nil {
		return nil, err
	}
	store, err := finder.DefaultDatastore(c)
	if err != nil {
		return nil, err
	}
	wanted := types.OvfCreateImportSpecParams{EntityName: c.arg(1)}
	spec, err := ovf.NewManager(c.client.Client).CreateImportSpec(c, string(descriptor), pools[0], store, wanted)
	if err != nil {
		return nil, err
	}
	if spec.Error != nil {
		return nil, fmt.Errorf("refused: %s", spec.Error[0].LocalizedMessage)
	}
	lease, err := pools[0].ImportVApp(c, spec.ImportSpec, nil, nil)
	if err != nil {
		return nil, err
	}
	info, err := lease.Wait(c, spec.FileItem)
	if err != nil {
		return nil, err
	}
	updater := lease.StartUpdater(c, info) // takes the progress of each upload, which waits for that
	defer updater.Done()
	sent := map[string]int64{}
	for _, item := range info.Items {
		if err = sendFile(c, lease, item, sent); err != nil {
			return nil, err
		}
	}
	if err = lease.Complete(c); err != nil {
		return nil, err
	}
	var made mo.VirtualMachine
	err = object.NewVirtualMachine(c.client.Client, info.Entity).Properties(c, info.Entity, []string{"name", "config"}, &made)
	return map[string]interface{}{"envelope": envelope, "sent": sent, "name": made.Name, "config": made.Config}, err
}

// sendFile uploads a file of the OVA that the first argument names.
func sendFile(c *call, lease *nfc.Lease, item nfc.FileItem, sent map[string]int64) error {
	file, archive, header, err := member(c.arg(0), item.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	sent[item.Path] = header.Size
	return lease.Upload(c, item, archive, soap.Upload{ContentLength: header.Size})
}

func firstOf(packed string) ([]byte, error) {
	file, archive, header, err := member(packed, "")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if path.Ext(header.Name) != ".ovf" {
		return nil, fmt.Errorf("%s is first, and not the descriptor", header.Name)
	}
	return ioutil.ReadAll(archive)
}

// member finds a file of a tar; without a name, the first one.
func member(packed, name string) (io.Closer, io.Reader, *tar.Header, error) {
	file, err := os.Open(packed)
	if err != nil {
		return nil, nil, nil, err
	}
	archive := tar.NewReader(file)
	for {
		header, err := archive.Next()
		if err != nil {
			file.Close()
			return nil, nil, nil, fmt.Errorf("%s in %s: %v", name, packed, err)
		}
		if name == "" || header.Name == name {
			return file, archive, header, nil
		}
	}
}

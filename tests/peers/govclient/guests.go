// Programs and files in a guest, as govc's guest.start, guest.ps, guest.kill and guest.run go about them.
package main

import (
	"io"
	"time"

	"github.com/vmware/govmomi/guest"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// guestRun VM USER PASSWORD PROGRAM ARGUMENTS [FILE]: run a program to its end; FILE is downloaded then.
func guestRun(c *call) (interface{}, error) {
	vm, err := c.machine()
	if err != nil {
		return nil, err
	}
	operations := guest.NewOperationsManager(c.client.Client, vm.Reference())
	processes, err := operations.ProcessManager(c)
	if err != nil {
		return nil, err
	}
	who := &types.NamePasswordAuthentication{Username: c.arg(1), Password: c.arg(2)}
	pid, err := processes.StartProgram(c, who, &types.GuestProgramSpec{ProgramPath: c.arg(3), Arguments: c.arg(4)})
	if err != nil {
		return nil, err
	}
	for {
		found, err := processes.ListProcesses(c, who, []int64{pid})
		if err != nil {
			return nil, err
		}
		if len(found) == 1 && found[0].EndTime != nil {
			output, err := guestFile(c, operations, who, c.arg(5))
			return map[string]interface{}{"exit": found[0].ExitCode, "owner": found[0].Owner, "output": output}, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// guestFile returns the content of a file in the guest, by the URL that the server hands out.
func guestFile(c *call, operations *guest.OperationsManager, who types.BaseGuestAuthentication, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	files, err := operations.FileManager(c)
	if err != nil {
		return "", err
	}
	info, err := files.InitiateFileTransferFromGuest(c, who, path)
	if err != nil {
		return "", err
	}
	address, err := files.TransferURL(c, info.Url)
	if err != nil {
		return "", err
	}
	body, _, err := c.client.Download(c, address, &soap.DefaultDownload)
	if err != nil {
		return "", err
	}
	defer body.Close()
	content, err := io.ReadAll(body)
	return string(content), err
}

// guestStop VM USER PASSWORD PROGRAM ARGUMENTS: start a program, and terminate it while it runs.
func guestStop(c *call) (interface{}, error) {
	vm, err := c.machine()
	if err != nil {
		return nil, err
	}
	processes, err := guest.NewOperationsManager(c.client.Client, vm.Reference()).ProcessManager(c)
	if err != nil {
		return nil, err
	}
	who := &types.NamePasswordAuthentication{Username: c.arg(1), Password: c.arg(2)}
	pid, err := processes.StartProgram(c, who, &types.GuestProgramSpec{ProgramPath: c.arg(3), Arguments: c.arg(4)})
	if err != nil {
		return nil, err
	}
	before, err := processes.ListProcesses(c, who, []int64{pid})
	if err != nil {
		return nil, err
	}
	if err := processes.TerminateProcess(c, who, pid); err != nil {
		return nil, err
	}
	after, err := processes.ListProcesses(c, who, []int64{pid})
	return map[string]interface{}{"ran": before[0].EndTime == nil, "exit": after[0].ExitCode}, err
}

// A vSphere client in the manner of govc, made of govmomi's own parts: an independent client for our lab to serve.
//
//	govclient [-user U] [-password P] [-thumbprint SHA1] [-keepalive 1s] URL VERB [ARGUMENTS]
//
// Every verb prints one JSON document. A failure prints {"error", "fault"} and exits with 1.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/task"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"
)

// call is what a verb gets: a logged-in client and the rest of the command line.
type call struct {
	context.Context
	client *govmomi.Client
	login  *url.Userinfo
	args   []string
}

type verb func(*call) (interface{}, error)

var verbs = map[string]verb{
	"about": about, "ls": ls, "find": findAll, "collect": collect, "tasks": tasks, "events": events,
	"roles": roles, "session.idle": sessionIdle, "session.ls": sessionList,
	"vm.info": vmInfo, "vm.create": vmCreate, "vm.power": vmPower, "vm.wait": vmWait, "vm.ip": vmIP,
	"vm.change": vmChange, "vm.destroy": vmDestroy, "vm.register": vmRegister, "vm.unregister": vmUnregister,
	"vm.disk.create": vmDiskCreate, "vm.disk.remove": vmDiskRemove, "device.ls": deviceList,
	"snapshot.tree": snapshotTree, "snapshot.create": snapshotCreate, "snapshot.remove": snapshotRemove,
	"snapshot.revert": snapshotRevert, "disk.changes": diskChanges,
	"cluster.info": clusterInfo, "host.info": hostInfo, "host.parts": hostParts, "refused": refused, "search": search,
	"licences": licences, "extensions": extensions, "event.pages": eventPages, "empties": empties, "vapps": vapps,
	"vapp.create": vappCreate,
	"options":     options, "tag.attach": tagAttach, "guest.run": guestRun, "guest.stop": guestStop,
	"datastore.ls": datastoreList, "datastore.info": datastoreInfo, "datastore.upload": datastoreUpload,
	"ova.import": ovaImport, "datastore.download": datastoreDownload, "datastore.rm": datastoreRemove, "datastore.mkdir": datastoreMkdir,
}

func main() {
	user := flag.String("user", "", "user; none: do not log in")
	password := flag.String("password", "", "password")
	thumbprint := flag.String("thumbprint", "", "SHA-1 of the server's certificate")
	keepalive := flag.Duration("keepalive", 0, "how long the session may be idle until it is used on its own")
	flag.Parse()
	if flag.NArg() < 2 || verbs[flag.Arg(1)] == nil {
		fmt.Fprintln(os.Stderr, "usage: govclient [flags] URL VERB [ARGUMENTS]")
		os.Exit(2)
	}
	result, err := run(*user, *password, *thumbprint, *keepalive, flag.Args())
	if err != nil {
		result = map[string]string{"error": err.Error(), "fault": faultName(err)}
	}
	if printError := json.NewEncoder(os.Stdout).Encode(result); printError != nil || err != nil {
		os.Exit(1)
	}
}

func run(user, password, thumbprint string, keepalive time.Duration, args []string) (interface{}, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	address, err := soap.ParseURL(args[0])
	if err != nil {
		return nil, err
	}
	client := soap.NewClient(address, false)
	if thumbprint != "" {
		client.SetThumbprint(address.Host, thumbprint)
	}
	vim, err := vim25.NewClient(ctx, client)
	if err != nil {
		return nil, err
	}
	if keepalive != 0 {
		vim.RoundTripper = session.KeepAlive(vim.RoundTripper, keepalive)
	}
	known := &govmomi.Client{Client: vim, SessionManager: session.NewManager(vim)}
	if user != "" {
		if err := known.Login(ctx, url.UserPassword(user, password)); err != nil {
			return nil, err
		}
		defer known.Logout(ctx)
	}
	login := url.UserPassword(user, password)
	return verbs[args[1]](&call{Context: ctx, client: known, login: login, args: args[2:]})
}

// arg returns an argument of the verb, or an empty text.
func (c *call) arg(number int) string {
	if number < len(c.args) {
		return c.args[number]
	}
	return ""
}

// finder returns a finder in the default datacenter, as govc uses it.
func (c *call) finder() (*find.Finder, error) {
	finder := find.NewFinder(c.client.Client, false)
	center, err := finder.DefaultDatacenter(c)
	if err != nil {
		return nil, err
	}
	return finder.SetDatacenter(center), nil
}

// faultName returns the type of the vSphere fault behind an error, however it came: by a call or by a task.
func faultName(err error) string {
	var ended task.Error
	var fault interface{}
	switch {
	case errors.As(err, &ended):
		fault = ended.Fault()
	case soap.IsSoapFault(err):
		fault = soap.ToSoapFault(err).VimFault()
	case soap.IsVimFault(err):
		fault = soap.ToVimFault(err)
	}
	return typeName(fault)
}

// typeName returns a vim type's bare name.
func typeName(value interface{}) string {
	if value == nil {
		return ""
	}
	return strings.TrimPrefix(strings.TrimPrefix(reflect.TypeOf(value).String(), "*"), "types.")
}

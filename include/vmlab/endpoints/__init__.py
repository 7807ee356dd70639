"""The lab's URLs: which handler answers which, and the handlers that are not vSphere's SOAP API.

`routes` is the one handler of the vCenter's port. It hands a request to the dispatcher of the API, to the calls for
tests, or to a neighbour: `folder_files` gives and takes files of datastores under `/folder`, and `policy_service`
answers which storage policies a VM has under `/pbm`. `automation` answers which tags there are under `/api`, and under
its older name `/rest`. `host_files` is the handler of a host's own port: it gives the files that the host's running VMs
hold, for a ticket that the vCenter has issued. `guest_file` passes a file of a guest there, and `bundle_file` gives the
bundle of the host's configuration.
"""

from vmlab.endpoints.host_files import HostHandler
from vmlab.endpoints.routes import Routes

__all__ = ["HostHandler", "Routes"]

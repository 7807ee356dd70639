"""The site: its world of objects, its users and services, and the table of behaviours.

`Site` is what every behaviour gets: the world, the disks, and one service per file. `access` decides by roles and
grants what a user may see and do, `sessions` and `tickets` hold logins, `tasks` runs long calls in threads, one at a
time on each VM, `watches` remembers what each client was told, and `fault_plan` holds the faults that a test planned.
`guests` are the guests as guest operations see them. `product` is the kind of server and its release.

`calls` is the table of behaviours: `@method`, `@task_method` and `@computed` register a function, and a `Call` carries
the site, the caller and the receiver into it. The services know nothing of behaviours, so nothing here runs in a
circle: a service is below `Site`, and `calls` is above it.
"""

from vmlab.managed.site.access import Access, Sight
from vmlab.managed.site.calls import (
    Behaviour,
    Call,
    computed,
    find_computed,
    find_method,
    method,
    refusal,
    refuse,
    task_method,
)
from vmlab.managed.site.fault_plan import FaultPlan, Injection
from vmlab.managed.site.product import RELEASES, Kind, Product
from vmlab.managed.site.refusals import invalid_login, no_permission, session_needed
from vmlab.managed.site.roles import (
    ADMIN_ROLE,
    BACKUP_PRIVILEGES,
    BACKUP_ROLE,
    BUILT_IN,
    READ_ONLY_ROLE,
    SYSTEM,
    is_system,
)
from vmlab.managed.site.scripted_guests import File, Guest, Guests, Process, Script, Transfer, User
from vmlab.managed.site.sessions import COOKIE, Session, Sessions, acting, cookie_of
from vmlab.managed.site.site import Bundle, HostEnd, Site
from vmlab.managed.site.tasks import Tasks
from vmlab.managed.site.tickets import CloneTickets, ServiceTicket, ServiceTickets
from vmlab.managed.site.watches import Collector, Collectors, Watch

__all__ = [
    "ADMIN_ROLE",
    "BACKUP_PRIVILEGES",
    "BACKUP_ROLE",
    "BUILT_IN",
    "COOKIE",
    "READ_ONLY_ROLE",
    "RELEASES",
    "SYSTEM",
    "Access",
    "Behaviour",
    "Bundle",
    "Call",
    "CloneTickets",
    "Collector",
    "Collectors",
    "FaultPlan",
    "File",
    "Guest",
    "Guests",
    "HostEnd",
    "Injection",
    "Kind",
    "Process",
    "Product",
    "Script",
    "ServiceTicket",
    "ServiceTickets",
    "Session",
    "Sessions",
    "Sight",
    "Site",
    "Tasks",
    "Transfer",
    "User",
    "Watch",
    "acting",
    "computed",
    "cookie_of",
    "find_computed",
    "find_method",
    "invalid_login",
    "is_system",
    "method",
    "no_permission",
    "refusal",
    "refuse",
    "session_needed",
    "task_method",
]

"""The pages of the web view as pure functions: from answers of the catalog to view models, and from those to HTML.

A view model is a frozen value that holds every word and number of its page. So the page and its JSON twin tell the
same, and tests look at values. ``fleet``, ``vm`` and ``hardware`` make the models, ``charts`` draws inline SVG,
``words`` writes times, sizes and names, and ``rendering`` fills the templates.
Nothing here knows Airflow, a request or a clock.
"""

from vmkeep.web.fleet import FleetPage, FleetQuery, FleetSort, VmState, fleet_page
from vmkeep.web.hardware import HardwarePage, hardware_page
from vmkeep.web.rendering import STATIC, Frame, StaticFile, render
from vmkeep.web.vm import POINTS_A_PAGE, VmPage, vm_page

__all__ = [
    "POINTS_A_PAGE",
    "STATIC",
    "FleetPage",
    "FleetQuery",
    "FleetSort",
    "Frame",
    "HardwarePage",
    "StaticFile",
    "VmPage",
    "VmState",
    "fleet_page",
    "hardware_page",
    "render",
    "vm_page",
]

"""The environment browser tells what each host takes, and a host takes no VM whose hardware version it does not run."""

import pytest
from pyVmomi import vim, vmodl

from tests.integration.vmlab_soap.specs import vm_spec
from tests.integration.vmlab_soap.tables import wrong


@pytest.fixture
def hosts(content):
    return content.searchIndex.FindByInventoryPath("Lab/host/Cluster1").host


@pytest.fixture
def browser(content):
    return content.searchIndex.FindByInventoryPath("Lab/host/Cluster1").environmentBrowser


@pytest.fixture
def older(lab, hosts):
    """The second host, as an ESXi 7.0.3: it runs vmx-19 and what came before."""
    lab.settings(hardware_versions={hosts[1].name: 19})
    yield hosts[1]
    lab.settings(hardware_versions={hosts[1].name: 21})


@pytest.fixture
def make(content, run):
    """Make a VM of a hardware version, on a host where one is given; all are destroyed at the end."""
    index, made = content.searchIndex, []
    pool = index.FindByInventoryPath("Lab/host/Cluster1/Resources")

    def create(name, version=None, host=None):
        spec = vm_spec(name, version=version)
        made.append(run(index.FindByInventoryPath("Lab/vm/Test").CreateVM_Task(spec, pool, host)))
        return made[-1]

    yield create
    for vm in made:
        run(vm.Destroy_Task())


def offered(browser):
    return {option.key: option for option in browser.QueryConfigOptionDescriptor()}


def test_every_version_is_told_with_the_hosts_that_run_it(browser, hosts, older):
    found = offered(browser)

    assert found["vmx-19"].host == list(hosts)
    assert found["vmx-21"].host == [hosts[0]]
    assert [key for key, option in found.items() if option.defaultConfigOption] == ["vmx-19"]
    assert all(option.createSupported and option.description for option in found.values())


def test_a_vm_s_own_browser_tells_the_same_as_its_cluster_s(vm_at, browser, older):
    assert offered(vm_at("Production/web01").environmentBrowser).keys() == offered(browser).keys()


def test_the_option_of_one_host_is_its_own(browser, hosts, older):
    assert browser.QueryConfigOption(None, older).version == "vmx-19"
    assert browser.QueryConfigOption(None, hosts[0]).version == "vmx-21"
    assert browser.QueryConfigOption(None, None).version == "vmx-19"
    assert browser.QueryConfigOption("vmx-21", hosts[0]).version == "vmx-21"


@pytest.mark.parametrize("key", ["vmx-99", "vmx-12", "nonsense"])
def test_there_is_no_option_of_a_version_that_nobody_runs(browser, key):
    assert browser.QueryConfigOption(key, None) is None


def test_there_is_no_option_of_a_version_that_the_host_does_not_run(browser, older):
    assert browser.QueryConfigOption("vmx-21", older) is None


def test_the_option_tells_cpus_memory_guests_and_default_devices(browser):
    option = browser.QueryConfigOption("vmx-15", None)

    assert option.hardwareOptions.hwVersion == 15
    assert (option.hardwareOptions.numCPU[0], option.hardwareOptions.numCPU[-1]) == (1, 16)
    assert option.hardwareOptions.memoryMB.max == 65536
    assert "debian12_64Guest" in [guest.id for guest in option.guestOSDescriptor]
    assert vim.vm.device.VirtualVMCIDevice in [type(device) for device in option.defaultDevice]


def test_what_the_browser_answers_holds_all_that_its_types_require(browser, hosts):
    answers = {
        "QueryConfigTarget": browser.QueryConfigTarget(hosts[0]),
        "QueryConfigOption": browser.QueryConfigOption(None, hosts[0]),
        "QueryConfigOptionDescriptor": browser.QueryConfigOptionDescriptor(),
        "QueryTargetCapabilities": browser.QueryTargetCapabilities(hosts[0]),
    }
    results = {name: getattr(vim.EnvironmentBrowser, name).info.result for name in answers}

    assert [place for name, answer in answers.items() for place in wrong(answer, results[name], name)] == []


def test_an_option_can_be_asked_for_by_guest(browser):
    spec = vim.EnvironmentBrowser.ConfigOptionQuerySpec(key="vmx-19", guestId=["debian12_64Guest"])
    option = browser.QueryConfigOptionEx(spec)

    assert (option.version, [guest.id for guest in option.guestOSDescriptor]) == ("vmx-19", ["debian12_64Guest"])
    assert browser.QueryConfigOptionEx(None).guestOSDescriptor[1:]


def test_the_target_of_one_host_is_what_it_reaches(browser, hosts):
    target = browser.QueryConfigTarget(hosts[1])

    assert [store.datastore.datastore for store in target.datastore] == list(hosts[1].datastore)
    assert [network.network.network for network in target.network] == list(hosts[1].network)
    assert (target.numCpus, target.maxMemMBOptimalPerf) == (16, 65536)


def test_a_browser_knows_no_host_of_elsewhere(browser, content):
    nowhere = vim.HostSystem("host-99", content.rootFolder._stub)
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        browser.QueryConfigTarget(nowhere)


def test_a_host_s_capability_is_told_by_itself_and_by_the_browser(browser, hosts):
    assert browser.QueryTargetCapabilities(hosts[0]).vmotionSupported
    assert hosts[0].capability.maxSupportedVcpus == browser.QueryTargetCapabilities(None).maxSupportedVcpus


def test_a_host_says_which_release_it_is(hosts, older):
    assert older.config.product.version == older.summary.config.product.version == "7.0.3"
    assert hosts[0].config.product.version == "8.0.3"


def test_a_vm_too_new_for_the_host_asked_for_is_not_made(content, make, older):
    with pytest.raises(vim.fault.VirtualHardwareVersionNotSupported) as caught:
        make("too-new", "vmx-21", older)

    assert (caught.value.host, caught.value.hostName) == (older, older.name)
    assert content.searchIndex.FindByInventoryPath("Lab/vm/Test/too-new") is None


def test_a_vm_goes_to_a_host_that_runs_its_version(make, hosts, older):
    assert {make(f"newest{number}", "vmx-21").runtime.host for number in range(3)} == {hosts[0]}


def test_a_vm_of_no_version_asked_for_gets_the_newest_of_its_host(make, hosts, older):
    assert (make("a", host=older).config.version, make("b", host=hosts[0]).config.version) == ("vmx-19", "vmx-21")


@pytest.mark.parametrize("version", ["vmx-22", "vmx-12", "vmx-9", "21", "VMX-19"])
def test_a_version_that_no_host_runs_is_refused_whatever_it_is(make, version):
    with pytest.raises(vim.fault.VirtualHardwareVersionNotSupported):
        make("nowhere", version)


def test_a_vm_too_new_for_its_host_does_not_start(lab, make, hosts, run):
    vm = make("stranded", "vmx-21", hosts[1])
    lab.settings(hardware_versions={hosts[1].name: 19})
    try:
        with pytest.raises(vim.fault.VirtualHardwareVersionNotSupported):
            run(vm.PowerOnVM_Task(None))
    finally:
        lab.settings(hardware_versions={hosts[1].name: 21})


@pytest.mark.parametrize(("size", "fault"), [
    ({"numCPUs": 17}, vim.fault.NotEnoughLogicalCpus),
    ({"memoryMB": 65540}, vim.fault.InsufficientHostMemoryCapacityFault),
])  # fmt: skip
def test_a_vm_bigger_than_its_host_is_kept_but_does_not_start(make, hosts, run, size, fault):
    vm = make("giant", host=hosts[1])
    run(vm.ReconfigVM_Task(vim.vm.ConfigSpec(**size)))
    with pytest.raises(fault) as caught:
        run(vm.PowerOnVM_Task(None))

    assert caught.value.host == hosts[1]
    assert vm.runtime.powerState == "poweredOff"

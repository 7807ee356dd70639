"""Requests of other clients: prefixes, chunked bodies, headers, odd orders, rubbish. Raw HTTP, no pyVmomi."""

import http.client
import re
import ssl
import threading

import pytest

from tests.patience import HANG

ENVELOPE = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body>{}</Body></Envelope>"""
PREFIXED = """<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:v="urn:vim25"
 xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><s:Header><v:operationID>abc</v:operationID></s:Header><s:Body>{}</s:Body></s:Envelope>"""


def call_of(method, kind, moid, parameters=""):
    return f'<{method} xmlns="urn:vim25"><_this type="{kind}">{moid}</_this>{parameters}</{method}>'


LOGIN = call_of("Login", "SessionManager", "SessionManager", "<userName>{}</userName><password>{}</password>")
CONTENT = call_of("RetrieveServiceContent", "ServiceInstance", "ServiceInstance")


class Client:
    """One keep-alive connection."""

    def __init__(self, lab):
        context = ssl.create_default_context(cafile=lab.info["certificate"])
        self.connection = http.client.HTTPSConnection(lab.host, lab.port, context=context, timeout=HANG)
        self.cookie = ""

    def call(self, body, envelope=ENVELOPE, chunked=False, action='"urn:vim25/7.0"'):
        data = envelope.format(body).encode()
        headers = {"SOAPAction": action, "Content-Type": "text/xml; charset=utf-8"}
        if self.cookie:
            headers["Cookie"] = self.cookie
        pieces = iter([data[:7], data[7:100], data[100:]]) if chunked else data
        self.connection.request("POST", "/sdk", body=pieces, headers=headers, encode_chunked=chunked)
        response = self.connection.getresponse()
        if cookie := response.getheader("Set-Cookie"):
            self.cookie = cookie.partition(";")[0]
        return response.status, response.read().decode()

    def login(self, lab):
        status, answer = self.call(LOGIN.format(lab.user, lab.password))
        assert status == 200, answer
        return self


@pytest.fixture
def client(lab):
    made = Client(lab)
    yield made
    made.connection.close()


def test_a_client_without_pyvmomi_logs_in_and_reads(client, lab):
    status, answer = client.call(CONTENT)
    assert status == 200
    assert '<rootFolder type="Folder">group-d1</rootFolder>' in answer
    client.login(lab)
    assert client.cookie.startswith("vmware_soap_session=")
    status, answer = client.call(call_of("CurrentTime", "ServiceInstance", "ServiceInstance"))
    assert re.search(r"<returnval[^>]*>\d{4}-\d\d-\d\dT[\d:.]+Z</returnval>", answer)


def test_chunked_bodies_are_put_together(client, lab):
    client.login(lab)
    body = call_of("FindByInventoryPath", "SearchIndex", "SearchIndex", "<inventoryPath>Lab/vm/old01</inventoryPath>")
    status, answer = client.call(body, chunked=True)
    assert status == 200
    assert re.search(r'<returnval type="VirtualMachine">vm-\d+</returnval>', answer)


GOVMOMI_SPEC = """<specSet>
<propSet><type>Folder</type><pathSet>name</pathSet></propSet><propSet><type>Datacenter</type><pathSet>name</pathSet></propSet>
<objectSet><obj type="Folder">group-d1</obj><skip>true</skip><selectSet
 xmlns:XMLSchema-instance="http://www.w3.org/2001/XMLSchema-instance" XMLSchema-instance:type="TraversalSpec">
<type>Folder</type><path>childEntity</path></selectSet></objectSet></specSet>"""
GOVMOMI_FIND = call_of("RetrieveProperties", "PropertyCollector", "propertyCollector", GOVMOMI_SPEC)


def test_the_traversal_of_govmomi_s_finder_works(client, lab):
    status, answer = client.login(lab).call(GOVMOMI_FIND)
    assert status == 200
    assert '<obj type="Datacenter">datacenter-2</obj>' in answer
    assert '<val xsi:type="xsd:string">Lab</val>' in answer


NAMED = """<v:RetrievePropertiesEx><v:_this type="PropertyCollector">propertyCollector</v:_this><v:specSet>
<v:propSet><v:type>VirtualMachine</v:type><v:all>false</v:all><v:pathSet>name</v:pathSet></v:propSet>
<v:objectSet><v:obj type="Folder">group-d1</v:obj><v:skip>true</v:skip>
<v:selectSet i:type="v:TraversalSpec">
<v:name>f</v:name><v:type>Folder</v:type><v:path>childEntity</v:path><v:skip>false</v:skip>
<v:selectSet><v:name>f</v:name></v:selectSet><v:selectSet><v:name>d</v:name></v:selectSet></v:selectSet>
<v:selectSet i:type="v:TraversalSpec"><v:name>d</v:name><v:type>Datacenter</v:type><v:path>vmFolder</v:path>
<v:selectSet><v:name>f</v:name></v:selectSet></v:selectSet></v:objectSet></v:specSet><v:options/></v:RetrievePropertiesEx>"""


def test_prefixes_headers_and_selections_by_name_work(client, lab):
    status, answer = client.login(lab).call(NAMED, envelope=PREFIXED)
    assert status == 200
    assert answer.count("<objects>") == 8


def test_a_fault_has_the_shape_strict_clients_parse(client):
    status, answer = client.call(LOGIN.format("x", "y&amp;z"))
    assert status == 500
    assert '<detail><InvalidLoginFault xmlns="urn:vim25" xsi:type="InvalidLogin">' in answer
    assert "<faultcode>ServerFaultCode</faultcode>" in answer


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (
            call_of("NoSuchMethod", "ServiceInstance", "ServiceInstance"),
            "MethodNotFoundFault",
        ),
        (call_of("Login", "SessionManager", "SessionManager"), "InvalidRequestFault"),
        ('<Logout xmlns="urn:vim25"></Logout>', "InvalidRequestFault"),
        (
            call_of("Logout", "SessionManager", "SessionManager", "<x>1</x>"),
            "InvalidRequestFault",
        ),
        ("<Logout xmlns='urn:vim25'><_this", "InvalidRequestFault"),
        ("", "InvalidRequestFault"),
    ],
)
def test_rubbish_is_answered_with_a_fault_that_names_it(client, body, fault):
    status, answer = client.call(body)
    assert status == 500
    assert f"<{fault} " in answer


def test_an_entity_bomb_is_refused(client):
    head = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]>'
    bomb = head + ENVELOPE.partition("?>")[2]
    status, answer = client.call("<a>&a;</a>", envelope=bomb)
    assert status == 500
    assert "document type" in answer


def test_a_method_the_lab_does_not_do_says_so(client, lab):
    body = call_of(
        "CreatePerfInterval",
        "PerformanceManager",
        "PerfMgr",
        "<intervalId><key>1</key><samplingPeriod>1</samplingPeriod><name>x</name><length>1</length>"
        "<enabled>true</enabled></intervalId>",
    )
    status, answer = client.login(lab).call(body)
    assert status == 500
    assert "<NotSupportedFault " in answer
    assert "vmlab does not support" in answer


@pytest.mark.parametrize(("method", "kind", "ref", "spec", "missing"), [
    ("ReconfigVM_Task", "VirtualMachine", "vm-1001",
     "<spec><deviceChange><operation>add</operation></deviceChange></spec>",
     "device is missing from data object of type VirtualDeviceConfigSpec"),
    ("CreateCollectorForEvents", "EventManager", "EventManager",
     "<filter><entity><recursion>self</recursion></entity></filter>",
     "entity is missing from data object of type EventFilterSpecByEntity"),
    ("RetrieveProperties", "PropertyCollector", "propertyCollector",
     "<specSet><propSet><type>Folder</type></propSet><objectSet><skip>true</skip></objectSet></specSet>",
     "obj is missing from data object of type ObjectSpec"),
    ("RetrieveProperties", "PropertyCollector", "propertyCollector",
     "<specSet><propSet><type>Folder</type></propSet></specSet>",
     "objectSet is missing from data object of type PropertyFilterSpec"),
])  # fmt: skip
def test_a_data_object_without_a_field_that_its_type_requires_is_refused(client, lab, method, kind, ref, spec, missing):
    status, answer = client.login(lab).call(call_of(method, kind, ref, spec))
    assert status == 500
    assert "<InvalidRequestFault " in answer
    assert missing in answer


@pytest.mark.parametrize("method", ["RetrieveManagedMethodExecuter", "RetrieveDynamicTypeManager"])
def test_a_method_that_no_table_names_is_not_supported_either(client, lab, method):
    status, answer = client.login(lab).call(call_of(method, "HostSystem", "host-11", ""))
    assert status == 500
    assert "<NotSupportedFault " in answer


def test_the_version_list_and_unknown_pages(client, lab):
    client.connection.request("GET", "/sdk/vimServiceVersions.xml")
    answer = client.connection.getresponse().read().decode()
    assert "<name>urn:vim25</name><version>8.0.3.0</version>" in answer
    client.connection.request("GET", "/nothing")
    response = client.connection.getresponse()
    response.read()
    assert response.status == 404


def test_an_old_client_gets_no_fields_it_does_not_know(client, lab):
    client.login(lab)
    body = CONTENT
    assert "<instanceUuid>" not in client.call(body, action='"urn:vim25/2.5"')[1]
    assert "<instanceUuid>" in client.call(body, action='"urn:vim25/8.0.3.0"')[1]


def test_many_clients_at_once_are_all_answered(lab):
    failures = []

    def work():
        one = Client(lab)
        try:
            one.login(lab)
            for _ in range(10):
                assert one.call(GOVMOMI_FIND)[0] == 200
        except (AssertionError, OSError, http.client.HTTPException) as error:
            failures.append(error)
        finally:
            one.connection.close()

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
    assert failures == []

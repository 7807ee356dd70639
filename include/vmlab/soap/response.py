"""SOAP answers: a method's result, or a fault in the exact shape strict clients expect.

The fault detail has to be `<NameFault xmlns="urn:vim25" xsi:type="Name">`; pyVmomi's serializer leaves the xmlns out.
"""

import io
from typing import Any

from vmlab.api import ManagedObject, Object, SoapAdapter, support

_START: str = SoapAdapter.XML_HEADER + SoapAdapter.SOAP_ENVELOPE_START + SoapAdapter.SOAP_BODY_START
_END: str = SoapAdapter.SOAP_BODY_END + SoapAdapter.SOAP_ENVELOPE_END


def result_envelope(method: str, info: Any, value: Any, version: str, namespace: str = "urn:vim25") -> bytes:
    """A method's result as a whole SOAP document; `info` carries `result` (type) and `resultFlags`."""
    out = io.StringIO()
    out.write(f'{_START}<{method}Response xmlns="{namespace}">')
    nothing = value is None or (isinstance(value, list) and not value)  # an empty array is sent as no element
    if not nothing:
        field = Object(name="returnval", type=info.result, version=version, flags=info.resultFlags)
        _serializer(out, version).Serialize(value, field)
    out.write(f"</{method}Response>{_END}")
    return out.getvalue().encode()


def fault_envelope(fault: Any, version: str, namespace: str = "urn:vim25") -> bytes:
    """A fault as a whole SOAP document (to be sent with HTTP status 500)."""
    name = type(fault)._wsdlName
    out = io.StringIO()
    _serializer(out, version).SerializeFaultDetail(
        fault, Object(name=f"{name}Fault", type=object, version=version, flags=0)
    )
    detail = out.getvalue().replace(" xsi:type", f' xmlns="{namespace}" xsi:type', 1)
    text = SoapAdapter.XmlEscape(fault.msg or name)
    body = f"<faultcode>ServerFaultCode</faultcode><faultstring>{text}</faultstring><detail>{detail}</detail>"
    return f"{_START}<soapenv:Fault>{body}</soapenv:Fault>{_END}".encode()


def _serializer(out: io.StringIO, version: str) -> Any:
    namespaces = SoapAdapter.SOAP_NSMAP.copy()
    namespaces[support.GetWsdlNamespace(version)] = ""
    serializer = SoapAdapter.SoapSerializer(out, version, namespaces)
    serializer.outermostAttrs = ""  # no vCenter sends its versionId attribute, and the envelope has the prefixes
    qualified = serializer._QName

    def reference_name(kind: Any, namespace: str) -> Any:
        """An anyType reference is a ManagedObjectReference; pyVmomi writes ManagedObject, which strict clients drop."""
        attribute, name = qualified(kind, namespace)
        return attribute, name + "Reference" if kind is ManagedObject else name

    serializer._QName = reference_name
    return serializer

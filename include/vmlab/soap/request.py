"""Parses one SOAP request: `Envelope / Body / <Method> / <parameter>*` into typed pyVmomi values.

Each parameter gets one pyVmomi deserializer, typed by the method's table entry. Accepts any namespace prefix, any
header element, self-closing elements and any order of parameters. Refuses DOCTYPE (entity tricks),
unknown methods and unknown parameters with the fault a vCenter would send.
"""

from typing import Any
from xml.parsers.expat import ExpatError, ParserCreate

from vmlab.api import F_OPTIONAL, DataObject, ManagedObject, Object, SoapAdapter, support, vim, vmodl

FETCH = Object(params=(Object(name="prop", type=str, privId=None),), result=object, resultFlags=F_OPTIONAL, privId=None)
"""The undocumented `Fetch(prop)` with which pyVmomi reads one property; it is not in the tables."""

UNDOCUMENTED = {
    "Fetch": FETCH,
    "RetrieveManagedMethodExecuter": Object(params=(), result=object, resultFlags=F_OPTIONAL, privId=None),
    "RetrieveDynamicTypeManager": Object(params=(), result=object, resultFlags=F_OPTIONAL, privId=None),
}
"""Methods that every server has although the tables do not. By the last two, clients reach esxcli."""


class SoapRequest:
    """A parsed request: `method`, its table entry `info`, the receiver `this`, the typed `args` by WSDL name."""

    def __init__(self, body: bytes) -> None:
        self.method = ""
        self.info: Any = None
        self.this: Any = None
        self.args: dict[str, Any] = {}
        self._depth = 0
        self._skipping = 0
        self._pending: tuple[str, Any, Any] | None = None
        self._types: dict[str, Any] = {}
        self._parser: Any = ParserCreate(namespace_separator=SoapAdapter.NS_SEP)
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = _refuse_doctype
        self._namespaces: Any = SoapAdapter.ExpatDeserializerNSHandlers()
        self._parser.StartNamespaceDeclHandler = self._namespaces.StartNamespaceDeclHandler
        self._parser.EndNamespaceDeclHandler = self._namespaces.EndNamespaceDeclHandler
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parse(body)

    def _parse(self, body: bytes) -> None:
        try:
            self._parser.Parse(body, True)
            self._take_pending()
        except ExpatError as error:
            raise vmodl.fault.InvalidRequest(msg=f"XML document is not well-formed: {error}") from error
        except (TypeError, AttributeError, KeyError, ValueError) as error:
            raise vmodl.fault.InvalidRequest(msg=f"{self.method or 'request'}: cannot read a value: {error}") from error
        finally:
            del self._parser
        if not self.method:
            raise vmodl.fault.InvalidRequest(msg="the SOAP body names no method")
        if self.this is None:
            raise vmodl.fault.InvalidRequest(msg=f"{self.method}: required parameter _this is missing")
        for param in self.info.params:
            self._require(param)

    def _require(self, param: Any) -> None:
        if param.name in self.args:
            return
        if not getattr(param, "flags", 0) & F_OPTIONAL:
            raise vmodl.fault.InvalidRequest(msg=f"{self.method}: required parameter {param.name} is missing")
        self.args[param.name] = param.type() if issubclass(param.type, list) else None

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        """Open Envelope, Body, the method, or hand one parameter to a deserializer."""
        self._take_pending()
        self._depth += 1
        namespace, _, name = tag.rpartition(SoapAdapter.NS_SEP)
        if self._skipping or (self._depth == 2 and name == "Header"):
            self._skipping += 1
        elif self._depth == 3:
            self._open_method(namespace, name)
        elif self._depth == 4:
            self._open_parameter(name, tag, attributes)

    def _end(self, tag: str) -> None:
        """Close an element this class opened itself; deserializers close their own."""
        self._take_pending()
        self._skipping -= bool(self._skipping)
        self._depth -= 1

    def _open_method(self, namespace: str, name: str) -> None:
        self.method = name
        try:
            self.info = UNDOCUMENTED.get(name) or support.GetWsdlMethod(namespace, name).info
        except KeyError:
            receiver = vim.ServiceInstance("ServiceInstance")
            message = f"Unable to resolve WSDL method name {name}"
            raise vmodl.fault.MethodNotFound(receiver=receiver, method=name, msg=message) from None
        self._types = {param.name: param.type for param in self.info.params} | {"_this": ManagedObject}

    def _open_parameter(self, name: str, tag: str, attributes: dict[str, str]) -> None:
        kind = self._types.get(name)
        if kind is None:
            raise vmodl.fault.InvalidRequest(msg=f"{self.method}: unexpected parameter {name}")
        deserializer = SoapAdapter.SoapDeserializer(None, None)
        self._pending = (name, kind, deserializer)
        self._depth -= 1  # because the deserializer takes the closing tag
        deserializer.Deserialize(
            self._parser, kind.Item if issubclass(kind, list) else kind, False, self._namespaces.nsMap
        )
        deserializer.StartElementHandler(tag, attributes)

    def _take_pending(self) -> None:
        if self._pending is None:
            return
        name, kind, deserializer = self._pending
        self._pending = None
        value = deserializer.GetResult()
        _require_fields(value)
        if name == "_this":
            self.this = value
        elif issubclass(kind, list):
            self.args.setdefault(name, kind()).append(value)
        else:
            self.args[name] = value


def _require_fields(value: Any) -> None:
    """Raise InvalidRequest for a data object that lacks a field its type requires, at any depth.

    A missing number or text is not noticed, because the deserializer has made it zero or empty.
    """
    if isinstance(value, list):
        for item in value:
            _require_fields(item)
    elif isinstance(value, DataObject):
        for info in value._GetPropertyList():
            field = getattr(value, info.name)
            if not info.flags & F_OPTIONAL and (field is None or (isinstance(field, list) and not field)):
                name = type(value)._wsdlName
                message = f"Required property {info.name} is missing from data object of type {name}"
                raise vmodl.fault.InvalidRequest(msg=message)
            _require_fields(field)


def _refuse_doctype(*_: Any) -> None:
    raise vmodl.fault.InvalidRequest(msg="a document type declaration is not accepted")

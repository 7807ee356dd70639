"""The managed objects of a simulated vSphere: one file per family, behaviours registered by type and WSDL name."""

"""cyclonedx-python-lib writes a bill of materials in every version and format, one JSON object a
line: {version, format, text}."""

import json

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion

licences = LicenseFactory()
bom = Bom()
bom.metadata.component = Component(
    type=ComponentType.APPLICATION, name="checkout", version="1.4.0"
)
inner = Component(type=ComponentType.LIBRARY, name="inner", version="0.1.0")
outer = Component(
    type=ComponentType.LIBRARY,
    name="outer",
    version="1.0.0",
    licenses=[licences.make_from_string("MIT")],
    components=[inner],
)
either = Component(
    type=ComponentType.LIBRARY,
    name="serde",
    version="1.0.229",
    licenses=[licences.make_from_string("MIT OR Apache-2.0")],
)
bom.components.add(outer)
bom.components.add(either)
for version in SchemaVersion:
    if version < SchemaVersion.V1_3:
        continue
    for format in (OutputFormat.JSON, OutputFormat.XML):
        text = make_outputter(bom, format, version).output_as_string()
        line = {"version": version.to_version(), "format": format.name, "text": text}
        print(json.dumps(line))

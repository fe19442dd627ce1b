"""The reference of gRPC: a page for each proto file, made of its descriptors and comments."""

from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto

from docs_site.descriptors import FIELDS, METHODS, VALUES, Described, Place, is_repeated
from docs_site.errors import method_prose
from docs_site.naming import anchor, cell, link, page_of, prose, short

Homes = dict[str, str]
"""Which page has which message or enum, by full name."""

_SCALARS = {number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()}


def reference_pages(files: list[Described]) -> dict[str, str]:
    """Each page with its text."""
    homes = {name: page_of(each.file.name) for each in files for name in _names(each)}
    return {"reference/index.md": _overview(files)} | {page_of(each.file.name): "\n".join(_page(each, homes)) for each in files}


def _names(each: Described) -> Iterator[str]:
    yield from (name for _, name, _ in each.messages())
    yield from (name for _, name, _ in each.enums())


def _overview(files: list[Described]) -> str:
    """Every method on one page: who looks for something finds it here."""
    lines = [
        "# gRPC",
        "",
        "All that can be called, made of the protos. Every service also answers `grpc.health.v1` and gRPC reflection. What a refusal is",
        "called: [errors](errors.md). Who may call what: [callers](../callers.md). What listens where: [settings](../index.md#configure-it).",
    ]
    for package in sorted({each.file.package for each in files}):
        members = [each for each in files if each.file.package == package]
        lines += ["", f"## {package.split('.')[1]}", "", f"`{package}`"]
        for each in members:
            page = page_of(each.file.name).removeprefix("reference/")
            lines += ["", f"**[{each.file.name.removeprefix('c360/')}]({page})** {prose(each.summary)}"]
            lines += ["", "| method | |", "|---|---|"] if each.file.service else []
            for place, service in each.services():
                lines += [_overview_row(each, place, service, index, page) for index in range(len(service.method))]
    return "\n".join(lines) + "\n"


def _overview_row(each: Described, place: Place, service: ServiceDescriptorProto, index: int, page: str) -> str:
    method = service.method[index]
    at = anchor(f"{each.file.package}.{service.name}.{method.name}")
    return f"| [`{service.name}.{method.name}`]({page}#{at}) | {cell(_first_sentence(each.comment(*place, METHODS, index)))} |"


def _first_sentence(comment: str) -> str:
    return comment.replace("\n", " ").partition(". ")[0].rstrip(".") + "."


def _page(each: Described, homes: Homes) -> Iterator[str]:
    yield f"# {each.file.name.removeprefix('c360/').removesuffix('.proto').replace('/v1/', ': ')}"
    yield f"\n{prose(each.summary)}\n\n`{each.file.name}`, package `{each.file.package}`\n"
    for place, service in each.services():
        yield from _service(each, place, service, homes)
    messages = list(each.messages())
    if messages:
        yield "## Messages\n"
    for place, name, message in messages:
        yield from _message(each, place, name, message, homes)
    yield from _enums(each)


def _service(each: Described, place: Place, service: ServiceDescriptorProto, homes: Homes) -> Iterator[str]:
    name = f"{each.file.package}.{service.name}"
    yield f"## {service.name} {{ #{anchor(name)} }}\n\n{prose(each.comment(*place))}\n"
    for index, method in enumerate(service.method):
        yield f"### {method.name} {{ #{anchor(f'{name}.{method.name}')} }}\n"
        yield f"{_signature(method, homes)}\n\n{method_prose(each.comment(*place, METHODS, index))}\n"


def _signature(method: MethodDescriptorProto, homes: Homes) -> str:
    asks = ("stream of " if method.client_streaming else "") + link(method.input_type, homes)
    answers = ("stream of " if method.server_streaming else "") + link(method.output_type, homes)
    return f"{asks} → {answers}"


def _message(each: Described, place: Place, name: str, message: DescriptorProto, homes: Homes) -> Iterator[str]:
    yield f"### {short(name)} {{ #{anchor(name)} }}\n\n{prose(each.comment(*place))}\n"
    if message.field:
        yield "| field | type | |\n|---|---|---|"
    for index, field in enumerate(message.field):
        yield f"| `{field.name}` | {_type(field, message, homes)} | {cell(each.comment(*place, FIELDS, index))} |"
    yield ""


def _type(field: FieldDescriptorProto, message: DescriptorProto, homes: Homes) -> str:
    if entry := _map_entry(field, message):
        return f"map of `{_SCALARS[entry.field[0].type]}` to {_one(entry.field[1], homes)}"
    if is_repeated(field):
        return f"repeated {_one(field, homes)}"
    if field.HasField("oneof_index") and not field.proto3_optional:
        return f"{_one(field, homes)} (one of `{message.oneof_decl[field.oneof_index].name}`)"
    return ("optional " if field.proto3_optional else "") + _one(field, homes)


def _map_entry(field: FieldDescriptorProto, message: DescriptorProto) -> DescriptorProto | None:
    kind = field.type_name.rpartition(".")[2]
    return next((inner for inner in message.nested_type if inner.name == kind and inner.options.map_entry), None)


def _one(field: FieldDescriptorProto, homes: Homes) -> str:
    return link(field.type_name, homes) if field.type_name else f"`{_SCALARS[field.type]}`"


def _enums(each: Described) -> Iterator[str]:
    enums = list(each.enums())
    if enums:
        yield "## Enums\n"
    for place, name, enum in enums:
        yield f"### {short(name)} {{ #{anchor(name)} }}\n\n{prose(each.comment(*place))}\n\n| value | |\n|---|---|"
        for index, value in enumerate(enum.value):
            yield f"| `{value.name}` | {cell(each.comment(*place, VALUES, index))} |"
        yield ""

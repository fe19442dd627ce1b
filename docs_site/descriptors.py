"""The protos with their comments, as protoc tells them: the same files that the code is generated of."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

# The numbers of these fields in descriptor.proto: a comment is found by the path of such numbers and indexes.
MESSAGES, ENUMS, SERVICES = 4, 5, 6
FIELDS, NESTED_MESSAGES, NESTED_ENUMS, ONEOFS = 2, 3, 4, 8
METHODS, VALUES, SYNTAX = 2, 2, 12

Place = tuple[int, ...]


@dataclass(frozen=True)
class Described:
    """A proto file and what its comments say."""

    file: FileDescriptorProto
    comments: dict[Place, str]

    @property
    def summary(self) -> str:
        """What stands above all of it."""
        return self.comments.get((SYNTAX,), "")

    def comment(self, *place: int) -> str:
        return self.comments.get(place, "")

    def services(self) -> Iterator[tuple[Place, ServiceDescriptorProto]]:
        yield from (((SERVICES, index), service) for index, service in enumerate(self.file.service))

    def messages(self) -> Iterator[tuple[Place, str, DescriptorProto]]:
        """Each message with its full name; nested ones after theirs, entries of maps left out."""
        for index, message in enumerate(self.file.message_type):
            yield from _nested((MESSAGES, index), self.file.package, message)

    def enums(self) -> Iterator[tuple[Place, str, EnumDescriptorProto]]:
        for index, enum in enumerate(self.file.enum_type):
            yield (ENUMS, index), f"{self.file.package}.{enum.name}", enum
        for place, name, message in self.messages():
            for index, enum in enumerate(message.enum_type):
                yield (*place, NESTED_ENUMS, index), f"{name}.{enum.name}", enum


def _nested(place: Place, outer: str, message: DescriptorProto) -> Iterator[tuple[Place, str, DescriptorProto]]:
    name = f"{outer}.{message.name}"
    yield place, name, message
    for index, inner in enumerate(message.nested_type):
        if not inner.options.map_entry:
            yield from _nested((*place, NESTED_MESSAGES, index), name, inner)


def is_repeated(field: FieldDescriptorProto) -> bool:
    return field.label == FieldDescriptorProto.LABEL_REPEATED


def described(protos: Path) -> list[Described]:
    """All of them, by path."""
    names = sorted(str(path.relative_to(protos)) for path in (protos / "c360").rglob("*.proto"))
    with tempfile.NamedTemporaryFile(suffix=".binpb") as out:
        command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", "--include_source_info", f"--descriptor_set_out={out.name}"]
        subprocess.run([*command, *names], cwd=protos, check=True)
        files = FileDescriptorSet.FromString(Path(out.name).read_bytes()).file
    return [Described(file, _comments(file)) for file in files]


def _comments(file: FileDescriptorProto) -> dict[Place, str]:
    located = {tuple(at.path): at.leading_comments or at.trailing_comments for at in file.source_code_info.location}
    return {place: _text(comment) for place, comment in located.items() if comment}


def _text(comment: str) -> str:
    return "\n".join(line.removeprefix(" ").rstrip() for line in comment.strip("\n").splitlines())

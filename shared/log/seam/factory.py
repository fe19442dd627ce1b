"""What the library's Application asks for its mapper and recorder; configured by the library's own environment."""

from typing import Any

from eventsourcing.persistence import (
    InfrastructureFactory,
    InfrastructureFactoryError,
    Mapper,
    Transcoder,
)
from eventsourcing.utils import Environment, EnvType, resolve_topic

from shared.log.seam.datastore import Datastore
from shared.log.seam.mapper import SealingMapper
from shared.log.seam.recorder import PartitionRecorder


class LogFactory(InfrastructureFactory[PartitionRecorder]):
    """Every recorder it makes is over the same partition; of several, the last that claimed it is the writer."""

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        self._datastore = Datastore(self._setting("LOG_DATABASE_URL"), self._setting("LOG_SCHEMA"))

    def mapper(self, transcoder: Transcoder | None = None, mapper_class: type[Mapper[Any]] | None = None) -> Mapper[Any]:
        if mapper_class or any(self.env.get(name) for name in (self.MAPPER_TOPIC, self.COMPRESSOR_TOPIC, self.CIPHER_TOPIC)):
            raise InfrastructureFactoryError("the log has one form: an app-wide mapper, compressor or cipher has no place in it")
        if self.env.get("CIPHER_KEY"):
            raise InfrastructureFactoryError("each stream has its own key: one for the whole application has no place here")
        return SealingMapper(transcoder or self.transcoder(), resolve_topic(self._setting("LOG_KEYS_TOPIC")))

    def aggregate_recorder(self, purpose: str = "events") -> PartitionRecorder:
        if purpose != "events":
            raise InfrastructureFactoryError(f"the log keeps events only, no {purpose}")
        return self.process_recorder()

    def application_recorder(self) -> PartitionRecorder:
        return self.process_recorder()

    def tracking_recorder(self, tracking_recorder_class: type[PartitionRecorder] | None = None) -> PartitionRecorder:
        topic = self.env.get(self.TRACKING_RECORDER_TOPIC)
        return self._recorder(tracking_recorder_class or (resolve_topic(topic) if topic else PartitionRecorder))

    def process_recorder(self) -> PartitionRecorder:
        return self._recorder(PartitionRecorder)

    def close(self) -> None:
        self._datastore.close()

    def _recorder(self, recorder_class: type[PartitionRecorder]) -> PartitionRecorder:
        return recorder_class(self._datastore, int(self._setting("LOG_PARTITION")), int(self._setting("LOG_PARTITIONS")))

    def _setting(self, name: str) -> str:
        """Raises InfrastructureFactoryError."""
        value = self.env.get(name)
        if not value:
            raise InfrastructureFactoryError(f"{name} is not set")
        return value

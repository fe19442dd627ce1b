/** How far this client's own writes have come, so that its reads include them. */
import { create } from "@bufbuild/protobuf";
import { PositionSchema, type Position } from "./gen/c360/common/v1/common_pb.js";

/** The newest of each log and partition, of which an installation has a fixed and small number. */
export class Positions {
  readonly #newest = new Map<string, Position>();

  note(position: Position | undefined): void {
    if (position?.log) keepNewest(this.#newest, position);
  }

  /** With those that somebody else was told, once each. */
  newest(more: Iterable<Position> = []): Position[] {
    const newest = new Map(this.#newest);
    for (const position of more) keepNewest(newest, position);
    return [...newest.values()].map(({ log, partition, number }) => create(PositionSchema, { log, partition, number }));
  }
}

function keepNewest(newest: Map<string, Position>, position: Position): void {
  const place = `${position.log}/${position.partition}`;
  const known = newest.get(place);
  if (known === undefined || known.number < position.number) newest.set(place, position);
}

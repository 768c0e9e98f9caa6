"""One clock for a file whose time stamps begin anew: recordings that were joined byte by byte, or by a broadcaster.

FFmpeg gives the stamps as they stand in the file. Here each recording follows the one before, and sound and pictures
keep their distance, as both are moved by the same time.
"""

from fractions import Fraction

from av.format import Flags
from av.stream import Discard, Disposition

JUMP_SECONDS = Fraction(1, 2)  # stamps that fall back by more than this begin anew
TIMED = ('video', 'audio')  # streams whose packets follow each other; subtitles do not
RENEWED_SECONDS = 600  # so do those that leap by more than this, in formats whose clock is arbitrary (MPEG, Ogg)


def packets(container, wanted):
  """Yields the packets of some streams of a container, with continuous stamps.

  In formats whose clock may leap, the sound that goes with pictures is read along, and the other way round: whoever
  decodes the one and whoever decodes the other then find the same place where stamps begin anew.

  Args:
    container: open for reading, at its start.
    wanted: list of its streams.
  """
  may_leap, kinds = clock_may_leap(container), {stream.type for stream in wanted}
  best = [container.streams.best(kind) for kind in TIMED if may_leap and kind not in kinds]
  read = [*wanted, *(stream for stream in best if stream is not None and not is_cover(stream))]
  for stream in container.streams:
    stream.discard = Discard.default if stream in read else Discard.all
  for packet in continuous(container.demux(read), may_leap):
    if packet.stream in wanted:
      yield packet


def is_cover(stream):
  """Whether a stream of pictures holds covers or thumbnails."""
  return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def clock_may_leap(container):
  """Whether the format's clock may jump anywhere."""
  return bool(container.format.flags & Flags.ts_discont.value)


def continuous(demuxed, may_leap):
  """Moves the time stamps of packets so that those of each stream rise.

  A packet whose stamp jumps waits for the next one of its stream: where that continues the old clock, the stamp alone
  was wrong.

  Args:
    demuxed: iterable of av.Packet in the order of the file, of one or several streams, with those that end a stream.
    may_leap: whether a leap by more than RENEWED_SECONDS begins anew.

  Yields:
    the packets, `pts` and `dts` changed; those of each stream in their order.
  """
  offset, former = Fraction(0), Fraction(0)  # seconds that are added; those before the last change
  ends, held = {}, {}  # by stream: end of its last packet, in ticks; a packet that waits
  jumps = {}  # by stream: ticks, whole ones, of JUMP_SECONDS
  for packet in demuxed:
    index, dts = packet.stream.index, packet.dts
    # Nearly all packets follow the one before by an unchanged clock. Fractions cost as much as decoding sound.
    is_plain = not offset and dts is not None and index in jumps and index not in held
    if is_plain and abs(dts - ends[index]) <= jumps[index]:
      ends[index] = _end_ticks(packet)
      yield packet
      continue
    stamp = _stamp(packet)
    suspect = held.pop(index, None)
    if suspect is not None:
      end = ends[index] * suspect.time_base
      follows = stamp is not None and abs(stamp + offset - end - _seconds(suspect)) <= JUMP_SECONDS
      jump = end - _stamp(suspect) - offset
      if follows:
        _move(suspect, end - _stamp(suspect))
      elif jump < 0 and abs(end - _stamp(suspect) - former) <= JUMP_SECONDS:  # late, of the recording before
        _move(suspect, former)
      else:
        if jump > 0 or (may_leap and -jump > RENEWED_SECONDS):
          offset, former = offset + jump, offset
        _move(suspect, offset)
      ends[index] = _end_ticks(suspect)
      yield suspect
    if stamp is None or packet.stream.type not in TIMED:
      _move(packet, offset)
      yield packet
    elif index in ends and abs(stamp + offset - ends[index] * packet.time_base) > JUMP_SECONDS:
      held[index] = packet
    else:
      _move(packet, offset)
      ends[index], jumps[index] = _end_ticks(packet), int(JUMP_SECONDS / packet.time_base)
      yield packet
  yield from held.values()


def _stamp(packet):
  """Seconds at which a packet is decoded; None where it does not say."""
  return None if packet.dts is None else packet.dts * packet.time_base


def _end_ticks(packet):
  """Where a packet ends, in ticks of its stream."""
  return packet.dts + (packet.duration or 0)


def _seconds(packet):
  return (packet.duration or 0) * packet.time_base


def _move(packet, seconds):
  ticks = round(seconds / packet.time_base) if seconds else 0
  if ticks:
    packet.pts = None if packet.pts is None else packet.pts + ticks
    packet.dts = None if packet.dts is None else packet.dts + ticks

"""Presentation times of pictures from containers that hold one time per packet, such as AVI and ASF.

With B-frames a decoder gives pictures in another order than that of their packets. Pictures then take the times of the
packets in rising order.
"""

import heapq

# Of each format, the time that FFmpeg derives with the smaller error: AVI counts packets from zero, ASF moves those of
# a stream with B-frames ahead.
TIMES = {'avi': 'dts', 'asf': 'pts'}


def frames(decode, packets, time):
  """Decodes packets to frames whose `pts` rise.

  Args:
    decode: function of an av.Packet that returns a list of av.VideoFrame.
    packets: iterable of av.Packet of one stream.
    time: 'dts' or 'pts', a value of TIMES.

  Yields:
    av.VideoFrame in the order of presentation.
  """
  waiting = []  # times of packets whose pictures have not come yet
  for packet in packets:
    packet.pts = getattr(packet, time)
    if packet.pts is not None:
      heapq.heappush(waiting, packet.pts)
    for frame in decode(packet):
      if frame.key_frame and frame.pts is not None:  # what is older and still waits was not decoded
        waiting = [ticks for ticks in waiting if ticks >= frame.pts]
        heapq.heapify(waiting)
      frame.pts = heapq.heappop(waiting) if waiting else None
      yield frame

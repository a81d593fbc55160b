"""Import this before torch: it sets up the process as ``sidgan dub`` does (threads and memory)."""

from sidgan.threads import ready_for_dubs

ready_for_dubs()

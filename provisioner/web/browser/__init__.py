"""What console and client panel share as pages: sessions, safety, the layout and what it is drawn with.

Pages work without any outside address, without scripts, and with nothing inline: styles, scripts and pictures
are files of this package and of Bootstrap-Flask, and the Content-Security-Policy says so.
"""

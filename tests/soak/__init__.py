"""A long run under steady load and steady trouble: what holds for a minute is to hold for years.

- ``run``: everything started, troubled for as long as asked, and ended
- ``load``: the clients, some of whom leave; ``receiver``: the receiving service, which looks at each token
- ``gate``: the way to the metadata server, which can be shut or cut; ``trouble``: what goes wrong, and when
- ``memory``: what the process and its virtual machines take
- ``verdict``: what the promises say about it all, tested with runs that are made up; ``report``: the page and the picture
"""

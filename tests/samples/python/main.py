"""Calls profiles, and prints what it answers."""

from urllib.request import Request, urlopen

with urlopen(Request("http://127.0.0.1:18100/", headers={"host": "profiles.localhost:18100"})) as response:
    print(response.read().decode())

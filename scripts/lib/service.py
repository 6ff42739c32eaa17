"""A receiving service of the demo: answers with its name and the caller's claims.

usage: service.py NAME PORT

The Envoy in front of it (envoy/receiver.yaml) has verified the token and forwards its claims; the
service never sees the token itself, and says so if it does.
"""

import base64
import http.server
import json
import sys


class Service(http.server.BaseHTTPRequestHandler):
    name = ""

    def do_GET(self) -> None:
        claims = self.headers.get("x-caller-claims", "")
        padded = claims + "=" * (-len(claims) % 4)
        body = {
            "service": self.name,
            "claims": json.loads(base64.urlsafe_b64decode(padded)) if claims else None,
            "token_arrived_here": "authorization" in self.headers or "x-serverless-authorization" in self.headers,
        }
        text = json.dumps(body, indent=2).encode() + b"\n"
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Quiet: the story is told elsewhere."""


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    Service.name = sys.argv[1]
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Service).serve_forever()

"""A Kafka that lets in only whom it knows and lets them do only what they may.

A private authority issues the certificates. Passwords (SCRAM and PLAIN), certificates of clients
and rights (`StandardAuthorizer`, KRaft) are Kafka's own; whoever comes by the port in the clear is
the administrator.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from pipeline.broker.ports import free_port
from pipeline.settings import KafkaSettings

MECHANISM = "SCRAM-SHA-512"

_PROTOCOLS = {"SECURE": "SASL_SSL", "MUTUAL": "SSL", "EXPIRED": "SASL_SSL"}
_SAID = re.compile(
    r"Principal = User:(?P<user>\S+) is (?P<verdict>Allowed|Denied) operation = (?P<operation>\w+) "
    r"from host = \S+ on resource = (?P<kind>\w+):LITERAL:(?P<name>\S+)"
)


class Asked(NamedTuple):
    """What somebody asked to do, as the authorizer's log has it."""

    user: str
    allowed: bool
    operation: str
    kind: str
    name: str


class Security:
    """Three more listeners, their certificates, and who may sign in.

    `SECURE`: TLS and a password. `MUTUAL`: TLS with the client's certificate, whose common name is
    the user. `EXPIRED`: as `SECURE`, with a certificate that has run out.

    Attributes:
        cafile: The authority's certificate.
        ports: Of the listeners.
    """

    def __init__(self, folder: Path, users: Mapping[str, str]) -> None:
        """Make certificates.

        Args:
            folder: For keys and certificates.
            users: Passwords by user.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.ports = {name: free_port() for name in _PROTOCOLS}
        self.users = dict(users)
        self.authority = trustme.CA(organization_name="Gapwatch tests")
        self.cafile = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.cafile)
        self._folder = folder
        self._issued = 0
        self._audit = folder / "audit.log"
        server = self._written("server", self.authority.issue_cert("127.0.0.1", "localhost"))
        expired = self._written(
            "expired", self.authority.issue_cert("127.0.0.1", "localhost", **_RUN_OUT)
        )
        self.config = _config(server, expired, self.cafile, self.users)
        self.scram = [
            f"{MECHANISM}=[name={user},password={password}]" for user, password in users.items()
        ]
        logging = folder / "log4j2.properties"
        logging.write_text(_LOGGING.format(audit=self._audit))
        self.logging = [f"-Dlog4j2.configurationFile={logging.as_uri()}"]

    def listeners(self, setting: str) -> str:
        """What is added to a broker setting that lists listeners."""
        if setting == "listener.security.protocol.map":
            return ",".join(f"{name}:{protocol}" for name, protocol in _PROTOCOLS.items())
        return ",".join(f"{name}://127.0.0.1:{port}" for name, port in self.ports.items())

    def settings(self, user: str, **changes: Any) -> KafkaSettings:
        """How a user signs in by password; anything of it may be changed."""
        given: dict[str, Any] = {
            "bootstrap_servers": f"127.0.0.1:{self.ports['SECURE']}",
            "partitions": 4,
            "replication": 1,
            "min_insync_replicas": 1,
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": MECHANISM,
            "sasl_username": user,
            "sasl_password": self.users[user],
            "ssl_cafile": self.cafile,
        }
        return KafkaSettings(**given | changes)

    def certified(self, certificate: Path, **changes: Any) -> KafkaSettings:
        """How one signs in by a certificate; anything of it may be changed."""
        given: dict[str, Any] = {
            "bootstrap_servers": f"127.0.0.1:{self.ports['MUTUAL']}",
            "partitions": 4,
            "replication": 1,
            "min_insync_replicas": 1,
            "security_protocol": "SSL",
            "ssl_cafile": self.cafile,
            "ssl_certfile": certificate,
            "ssl_keyfile": certificate,
        }
        return KafkaSettings(**given | changes)

    def certificate(
        self, user: str, *, expired: bool = False, by: trustme.CA | None = None
    ) -> Path:
        """A user's certificate, with its key, by this authority unless another is given."""
        issued = (by or self.authority).issue_cert(
            f"{user}@clients.example", common_name=user, **(_RUN_OUT if expired else {})
        )
        self._issued += 1
        return self._written(f"{user}-{self._issued}", issued)

    def asked(self, user: str) -> set[Asked]:
        """What a user asked to do so far, and whether it was allowed."""
        found = (_SAID.search(line) for line in self._audit.read_text().splitlines())
        asked = {
            Asked(m["user"], m["verdict"] == "Allowed", m["operation"], m["kind"], m["name"])
            for m in found
            if m is not None
        }
        return {each for each in asked if each.user == user}

    def _written(self, name: str, issued: trustme.LeafCert) -> Path:
        """Key and chain in one file; Kafka reads keys in PKCS #8 only."""
        key = load_pem_private_key(issued.private_key_pem.bytes(), None)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path = self._folder / f"{name}.pem"
        path.write_bytes(pem + b"".join(part.bytes() for part in issued.cert_chain_pems))
        return path


_RUN_OUT: dict[str, Any] = {
    "not_before": datetime.now(UTC) - timedelta(days=30),
    "not_after": datetime.now(UTC) - timedelta(days=1),
}

_LOGGING = """\
rootLogger.level = error
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %p %m%n
appender.audit.type = File
appender.audit.name = audit
appender.audit.fileName = {audit}
appender.audit.layout.type = PatternLayout
appender.audit.layout.pattern = %m%n
logger.audit.name = kafka.authorizer.logger
logger.audit.level = debug
logger.audit.additivity = false
logger.audit.appenderRef.audit.ref = audit
"""
"""Kafka's usual words, and the authorizer's log of what was allowed and denied."""


def _config(server: Path, expired: Path, cafile: Path, users: Mapping[str, str]) -> dict[str, str]:
    modules = "org.apache.kafka.common.security"
    plain = " ".join(f'user_{user}="{password}"' for user, password in users.items())
    config = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.mutual.ssl.principal.mapping.rules": "RULE:^CN=([^,]*).*$/$1/,DEFAULT",
    }
    for listener, keys in (("secure", server), ("mutual", server), ("expired", expired)):
        config |= {
            f"listener.name.{listener}.ssl.keystore.type": "PEM",
            f"listener.name.{listener}.ssl.keystore.location": str(keys),
            f"listener.name.{listener}.ssl.truststore.type": "PEM",
            f"listener.name.{listener}.ssl.truststore.location": str(cafile),
        }
    for listener in ("secure", "expired"):
        config |= {
            f"listener.name.{listener}.sasl.enabled.mechanisms": f"{MECHANISM},PLAIN",
            f"listener.name.{listener}.{MECHANISM.lower()}.sasl.jaas.config": (
                f"{modules}.scram.ScramLoginModule required;"
            ),
            f"listener.name.{listener}.plain.sasl.jaas.config": (
                f"{modules}.plain.PlainLoginModule required {plain};"
            ),
        }
    return config

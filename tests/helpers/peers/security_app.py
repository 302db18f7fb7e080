"""A Flask application with Flask-Security; run as a program it enrols users, as Flask-Security does it.

With `OLD_ENCRYPTED` set its recovery codes are encrypted; its TOTP secrets always are. It prints what its users hold: for
each id the Key URI in their app, and the recovery codes on their paper.
"""

import json
import os
import sys

from cryptography.fernet import Fernet
from flask import Flask
from flask_security import Security, SQLAlchemySessionUserDatastore
from flask_security.models import sqla
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, scoped_session, sessionmaker


class Base(DeclarativeBase):
    pass


sqla.FsModels.set_db_info(base_model=Base)


class Role(Base, sqla.FsRoleMixin):
    __tablename__ = "role"


class User(Base, sqla.FsUserMixin):
    __tablename__ = "user"


def create_app():
    app = Flask("security_app")
    app.config |= {
        "SECRET_KEY": "of the old application",
        "SECURITY_PASSWORD_SALT": "of the old application",
        "SECURITY_TWO_FACTOR": True,
        "SECURITY_TWO_FACTOR_ENABLED_METHODS": ["authenticator", "email"],
        "SECURITY_MULTI_FACTOR_RECOVERY_CODES": True,
        "SECURITY_TOTP_SECRETS": {"1": "an old secret of the application", "2": "a newer one, which encrypts"},
        "SECURITY_TOTP_ISSUER": "Old application",
        "SECURITY_MULTI_FACTOR_RECOVERY_CODES_N": 4,
    }
    if os.environ.get("OLD_ENCRYPTED"):
        app.config["SECURITY_MULTI_FACTOR_RECOVERY_CODES_KEYS"] = [b"b2Ygb25lIG9sZCBzaXRlLCBmb3IgdGVzdHMgb25seSE="]
    session = scoped_session(sessionmaker(create_engine(f"sqlite:///{os.environ['OLD_DATABASE']}")))
    Base.query = session.query_property()
    app.security = Security(app, SQLAlchemySessionUserDatastore(session, User, Role), register_blueprint=False)
    return app


def main(bulk):
    app = create_app()
    held = {}
    with app.app_context():
        security, datastore = app.security, app.security.datastore
        session = datastore.db.session
        Base.metadata.create_all(session.get_bind())

        def enrol(name, method="authenticator", *, codes=True):
            user = datastore.create_user(email=f"{name.replace(' ', '')}@example.com", password=None)
            secret = security.totp_factory.generate_totp_secret()
            datastore.tf_set(user, method, totp_secret=secret)
            printed = security.mf_recovery_codes_util.create_recovery_codes(user) if codes else []
            session.commit()
            held[name] = {"id": str(user.id), "uri": security.totp_factory.get_totp_uri(name, secret), "codes": printed}
            return user

        alice = enrol("alice")
        token = held["alice"]["codes"][0]
        assert security.mf_recovery_codes_util.check_recovery_code(alice, token)
        assert security.mf_recovery_codes_util.delete_recovery_code(alice, token)
        held["alice"]["used_token"] = token
        enrol("no codes", codes=False)
        enrol("by mail", "email")
        datastore.create_user(email="nobody@example.com", password=None)
        lost = enrol("lost key")
        other = json.loads(lost.tf_totp_secret)
        other["enckey"]["t"] = "7"
        lost.tf_totp_secret = json.dumps(other)
        if os.environ.get("OLD_ENCRYPTED"):
            stale = enrol("stale codes")
            stale.mf_recovery_codes = [Fernet(Fernet.generate_key()).encrypt(b"abcd-abcd-abcd").decode()]
        session.commit()
        for number in range(bulk):
            enrol(f"user {number}")
    json.dump(held, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]))

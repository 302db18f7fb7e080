"""The tables as they were first made."""

from django.db import migrations, models

from twofa.stores.django.fields import BytesTextField


class Migration(migrations.Migration):
    """Create them."""

    initial = True

    operations = (
        migrations.CreateModel(
            name="Record",
            fields=[
                ("user_id", BytesTextField(primary_key=True, serialize=False)),
                ("version", models.TextField()),
                ("document", models.TextField()),
            ],
            options={"db_table": "twofa_record"},
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("user_id", BytesTextField()),
                ("at", models.BigIntegerField(help_text="Unix seconds")),
                ("kind", models.TextField()),
                ("source", models.TextField(null=True)),
                ("detail", models.TextField(help_text="a JSON object")),
            ],
            options={
                "db_table": "twofa_event",
                "indexes": [
                    models.Index(fields=["user_id"], name="twofa_event_user"),
                    models.Index(fields=["at"], name="twofa_event_at"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Schema",
            fields=[
                ("version", models.IntegerField(primary_key=True, serialize=False)),
                ("needs", models.IntegerField(db_default=1)),
                ("in_use", models.IntegerField(db_default=0)),
            ],
            options={"db_table": "twofa_schema"},
        ),
    )

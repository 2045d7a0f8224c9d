"""Shipping: sends what is paid."""

from examples.orders.data import Payment, create, database, store
from headrace import Headrace, Retry, SyncJobContext, rabbitmq

hr = Headrace(store("shipping"))
create("shipping", "parcel (id INTEGER PRIMARY KEY, order_id TEXT NOT NULL)")


@hr.on(rabbitmq("paid", declare=True))
@hr.task(queue="parcels", retry=Retry(max_attempts=10, initial=0.2, cap=5))
def ship(ctx: SyncJobContext, payment: Payment) -> None:
    """Pack a parcel."""
    with database("shipping") as connection:
        connection.execute("INSERT INTO parcel (order_id) VALUES (?)", (payment.order,))
        ctx.succeed(None, using=connection)

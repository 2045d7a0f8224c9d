"""Payments: charges each order once, and tells of it. The charge, the event and the job's end are one transaction."""

from examples.orders.data import Order, Payment, create, database, store
from headrace import Headrace, Retry, SyncJobContext, kafka, rabbitmq

hr = Headrace(store("payments"))
PAID = rabbitmq("paid", declare=True)
create("payments", "charge (id INTEGER PRIMARY KEY, order_id TEXT NOT NULL, cents INTEGER NOT NULL)")


@hr.on(kafka("orders", group="payments"))
@hr.task(queue="charges", retry=Retry(max_attempts=10, initial=0.2, cap=5))
def charge(ctx: SyncJobContext, order: Order) -> int:
    """Charge an order."""
    with database("payments") as connection:
        connection.execute("INSERT INTO charge (order_id, cents) VALUES (?, ?)", (order.id, order.cents))
        paid = Payment(order=order.id, cents=order.cents)
        ctx.publish(PAID, paid, key=order.id, type="payments.order.paid", using=connection)
        return ctx.succeed(order.cents, using=connection)

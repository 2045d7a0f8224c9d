"""The shop: takes orders over HTTP. An order and the event that tells of it are one transaction."""

from collections.abc import Sequence

from fastapi import FastAPI

from examples.orders.data import Order, create, database, store
from headrace import Headrace, kafka

hr = Headrace(store("shop"))
app = FastAPI(title="Shop")
hr.install(app, workers=1)  # which sends what is published
create("shop", "placed (id TEXT PRIMARY KEY, customer TEXT NOT NULL, cents INTEGER NOT NULL)")


def place(orders: Sequence[Order]) -> int:
    """Keep new orders and tell payments of them; how many are new."""
    with database("shop") as connection:
        new = 0
        for order in orders:
            row = (order.id, order.customer, order.cents)
            if connection.execute("INSERT OR IGNORE INTO placed VALUES (?, ?, ?)", row).rowcount:
                hr.publish_sync(kafka("orders"), order, key=order.customer, type="shop.order.placed", using=connection)
                new += 1
        connection.commit()
    return new


@app.post("/orders", status_code=202)
def place_one(order: Order) -> dict[str, int]:
    """Place an order; placing it again changes nothing."""
    return {"placed": place([order])}


@app.post("/orders/import", status_code=202)
def place_many(orders: list[Order]) -> dict[str, int]:
    """Place many at once: all or none."""
    return {"placed": place(orders)}

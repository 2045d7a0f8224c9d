"""A shop, its payments and its shipping: three services that speak by Kafka and RabbitMQ."""

-- The instant, by the database's clock.
SELECT extract(epoch FROM coalesce($1, clock_timestamp()))::double precision

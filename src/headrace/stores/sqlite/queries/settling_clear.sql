-- Ready for the next exchange.
DELETE FROM temp.settling

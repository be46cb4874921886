-- Where running trials count as what they reported last, a trial's point was made from those reports as well.
alter table run add column made_reports bigint; -- how many of the sweep's it knew, in their order; null: it looked at none

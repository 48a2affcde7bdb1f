do $$
declare
  signature regprocedure;
  added text;
begin
  for signature, added in values
    ('drop_week(text, integer)', $add$
  if not exists (select from usage_weeks w where w.week = drop_week.week and w.counted_at is not null) then
    raise exception 'Cannot drop week %: its days are not counted yet', week;
  end if;$add$),
    ('store_events(uuid, jsonb)', $add$
  perform pg_advisory_xact_lock_shared(hashtext('smtp_proxy.freeze_weeks'));$add$),
    ('store_events(uuid, jsonb)', $add$
    continue when exists (select from usage_weeks w
      where w.ends > made_call.message_id and w.starts <= made_call.message_id);$add$)
  loop
    execute replace(pg_get_functiondef(signature), added, '');
  end loop;
end
$$;
drop function recount_week(text), count_week(text, integer), count_recipients(uuid),
  day_of_message(uuid, timestamptz);
drop table usage_daily, usage_weeks;

-- expand
-- A hash of today in place of an older installation's (bcrypt), once the password of an SMTP account was right; unless it
-- was changed meanwhile. Whoever takes mail in may replace no other password with it, and none twice.
create function renew_smtp_password(account uuid, old_hash text, new_hash text) returns void
  language sql security definer set search_path = pg_catalog, public, pg_temp
  begin atomic
    update users set password_hash = new_hash
    where id = account and account_type = 'smtp' and password_hash = old_hash and old_hash ~ '^\$2[aby]\$'
      and new_hash ~ '^\$scrypt\$';
  end;
alter function renew_smtp_password(uuid, text, text) owner to smtp_proxy_access;
revoke execute on function renew_smtp_password(uuid, text, text) from public;
grant execute on function renew_smtp_password(uuid, text, text) to smtp_proxy_intake;

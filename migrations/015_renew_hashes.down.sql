drop function renew_smtp_password(uuid, text, text);

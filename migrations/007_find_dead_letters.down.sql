drop index messages_dead;

"""Long work in shards: planned in one place, computed in one process or many, written as whole files.

plan -> shards (plain descriptions that can be sent anywhere) -> compute (pure: a shard and tools in, tables out) ->
write (a shard's tables, the last one of which says that all are there). What is written already is not done again.
"""

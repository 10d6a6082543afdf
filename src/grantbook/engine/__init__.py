"""The answers of `model.resolution`, worked out from the store.

`loading` fetches the facts that a question needs, with one query for each kind of fact; `decide` answers about one
user and given entities; `lookup` lists entities of a user and users of an entity. All of them end in the definition.
"""

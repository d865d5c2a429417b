"""Text views of a run: what ``python -m launch.report show=[...]`` prints.

    items.parse_item ─► items.make_view ─► a view, a frozen dataclass ─► view.render() for people (rich)
                                                                      └► json_output.dump_views for programs

Each view is made from a ``RunFiles`` by one function, which reads the columns that the view needs and no more. What is
unknown is None: null in JSON, and a dash in text. Texts of programs and models reach a terminal only through
``formatting``, which escapes control characters and never interprets markup.
"""

"""Apps to run in a mesh, none of which knows of one: Bookinfo and small probes. Standard library only.

`python -m demo_apps.APP PORT`. Nothing here imports the mesh, and nothing in the mesh is needed to run these.
"""

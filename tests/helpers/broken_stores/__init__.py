"""Stores that are wrong in one way each, as stores in the field are. The kit must find every one of them.

All of them share one right store, `shelf.Shelf`, and are named after their fault.
"""

"""The platform dialect: the published API's paths, bodies and fields over our use-cases."""

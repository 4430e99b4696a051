"""The scenes themselves, one module per topic or per larger scene: bare programs that tell what happens, and what judges each by its
events. `manyhands.tour.contents` lists them."""

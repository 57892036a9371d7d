"""The documentation as a site: pages by hand, a page for each rule, lessons with what they showed, the reference."""

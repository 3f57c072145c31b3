mod bounds;
mod pair;
mod rules;
mod stories;

export { main as asc } from 'assemblyscript/asc';
